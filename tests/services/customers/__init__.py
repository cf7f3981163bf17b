"""Customers on the real PostgreSQL, and once through Kafka."""
