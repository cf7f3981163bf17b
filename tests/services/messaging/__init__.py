"""Messaging on the real PostgreSQL and against a real HTTP server; and once through Kafka."""
