"""Mirrors the tree; stories/ end to end; faults/ kills and outages. On the real Kafka and PostgreSQL."""
