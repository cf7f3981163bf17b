"""Apache Kafka and PostgreSQL as child processes: nothing to install, nothing left behind."""
