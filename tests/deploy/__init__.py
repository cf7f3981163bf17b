"""The `kopilka` command and the embedded servers."""
