"""Identifiers: UUIDv7, so that rows written together lie together.

The UUIDs are asyncpg's own, which the database gives anyhow: made, read and spelled at a tenth of the cost of the
standard library's, of which they are a subclass.
"""

import uuid
from datetime import datetime

import uuid_utils
from asyncpg.pgproto.pgproto import UUID


def new_id() -> uuid.UUID:
    """A new UUIDv7 (RFC 9562)."""
    return UUID(uuid_utils.uuid7().bytes)


def new_id_text() -> str:
    """A new UUIDv7 in its usual spelling, where the id is only written down."""
    return str(uuid_utils.uuid7())


def read_id(text: str) -> uuid.UUID:
    """The UUID that is spelled so; raises ValueError."""
    return UUID(text)


def least_id(moment: datetime) -> uuid.UUID:
    """No UUIDv7 that is made at the moment or later is less; the moment lies after 1970."""
    return UUID((int(moment.timestamp() * 1000) << 80).to_bytes(16, "big"))
