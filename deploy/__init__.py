"""How Kopilka is run: the `kopilka` command, the embedded Kafka and PostgreSQL, the sandbox."""
