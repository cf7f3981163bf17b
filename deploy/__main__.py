"""`python -m deploy` is `kopilka`."""

from deploy.cli import app

app()
