"""The tables that every service has beside its own: inbox, outbox, dead letters, idempotency keys."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, UUID

NAMING = {
    "pk": "%(table_name)s_pkey",
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
}


def moment(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    """A column with an aware UTC datetime."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def with_chassis_tables(metadata: sa.MetaData) -> sa.MetaData:
    """Add the chassis' tables to a service's `MetaData` and hand it back."""
    for table in chassis.tables.values():
        table.to_metadata(metadata)
    return metadata


def service_metadata() -> sa.MetaData:
    """A `MetaData` for a service's own tables, the chassis' tables already in it."""
    return with_chassis_tables(sa.MetaData(naming_convention=NAMING))


chassis = sa.MetaData(naming_convention=NAMING)

inbox = sa.Table(
    "inbox",
    chassis,
    sa.Column("event_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("content_hash", sa.BigInteger, nullable=False),
    moment("heard_at"),
    comment="Which events have been heard (CloudEvents: source and id together name an event).",
)
sa.Index("inbox_heard_at_idx", inbox.c.heard_at, postgresql_using="brin")

outbox = sa.Table(
    "outbox",
    chassis,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True, cache=1), primary_key=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("key", sa.LargeBinary),
    sa.Column("headers", sa.LargeBinary, nullable=False),
    sa.Column("value", sa.LargeBinary),
    moment("said_at"),
    comment="What the service has said and the relay has not yet published. Ids of one key are in commit order.",
)

outbox_round = sa.Table(
    "outbox_round",
    chassis,
    sa.Column("singleton", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("token", UUID(as_uuid=True), nullable=False),
    sa.Column("ids", ARRAY(sa.BigInteger), nullable=False),
    sa.CheckConstraint("singleton", name="one_row"),
    comment="The rows that the relay is publishing just now, and the token that Kafka commits together with them.",
)

dead_letters = sa.Table(
    "dead_letters",
    chassis,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("timestamp_ms", sa.BigInteger, nullable=False),
    sa.Column("key", sa.LargeBinary),
    sa.Column("headers", sa.LargeBinary, nullable=False),
    sa.Column("value", sa.LargeBinary),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    moment("died_at"),
    sa.Column("state", sa.Text, nullable=False, server_default="kept"),
    moment("settled_at", nullable=True),
    sa.UniqueConstraint("topic", "partition", "offset", "timestamp_ms"),
    sa.CheckConstraint("state IN ('kept', 'replayed', 'dropped')", name="state"),
    comment="Records that could not be processed; each is also on <topic>.<group>.dlq.",
)
sa.Index("dead_letters_died_at_idx", dead_letters.c.died_at)

waiting = sa.Table(
    "waiting",
    chassis,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("awaits", sa.Text, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("timestamp_ms", sa.BigInteger, nullable=False),
    sa.Column("key", sa.LargeBinary),
    sa.Column("headers", sa.LargeBinary, nullable=False),
    sa.Column("value", sa.LargeBinary),
    moment("since"),
    comment="Records that came before what they need; they are handled when it comes.",
)
sa.Index("waiting_awaits_idx", waiting.c.awaits, waiting.c.id)

idempotency_keys = sa.Table(
    "idempotency_keys",
    chassis,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("route", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.SmallInteger, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    moment("answered_at"),
    comment="The first answer to each Idempotency-Key.",
)
sa.Index("idempotency_keys_answered_at_idx", idempotency_keys.c.answered_at)
