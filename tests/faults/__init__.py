"""Kills, outages, freezes, poison: run on the real Kafka and PostgreSQL, and then everything must still be right."""
