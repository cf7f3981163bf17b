"""The chassis' tables as every service's first migration makes them. Later changes are migrations of their own."""

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.dialects import postgresql

STORAGE = """
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
                        autovacuum_vacuum_cost_delay = 0)
"""


def create_chassis_tables(connection: sa.Connection) -> None:
    """Inbox, outbox, dead letters, waiting records and idempotency keys."""
    op = Operations(MigrationContext.configure(connection))
    _dead_letters(op)
    _idempotency_keys(op)
    _inbox(op)
    _outbox(op)
    _outbox_round(op)
    _waiting(op)
    op.execute(STORAGE)


def _dead_letters(op: Operations) -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("died_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), server_default="kept", nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('kept', 'replayed', 'dropped')", name="dead_letters_state_check"),
        sa.PrimaryKeyConstraint("id", name="dead_letters_pkey"),
        sa.UniqueConstraint(
            "topic", "partition", "offset", "timestamp_ms", name="dead_letters_topic_partition_offset_timestamp_ms_key"
        ),
        comment="Records that could not be processed; each is also on <topic>.<group>.dlq.",
    )
    op.create_index("dead_letters_died_at_idx", "dead_letters", ["died_at"], unique=False)


def _idempotency_keys(op: Operations) -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", "route", name="idempotency_keys_pkey"),
        comment="The first answer to each Idempotency-Key.",
    )
    op.create_index("idempotency_keys_answered_at_idx", "idempotency_keys", ["answered_at"], unique=False)


def _inbox(op: Operations) -> None:
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.UUID(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.BigInteger(), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "source", name="inbox_pkey"),
        comment="Which events have been heard (CloudEvents: source and id together name an event).",
    )
    op.create_index("inbox_heard_at_idx", "inbox", ["heard_at"], unique=False, postgresql_using="brin")


def _outbox(op: Operations) -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True, cache=1), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="outbox_pkey"),
        comment="What the service has said and the relay has not yet published. Ids of one key are in commit order.",
    )


def _outbox_round(op: Operations) -> None:
    op.create_table(
        "outbox_round",
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("token", sa.UUID(), nullable=False),
        sa.Column("ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.CheckConstraint("singleton", name="outbox_round_one_row_check"),
        sa.PrimaryKeyConstraint("singleton", name="outbox_round_pkey"),
        comment="The rows that the relay is publishing just now, and the token that Kafka commits together with them.",
    )


def _waiting(op: Operations) -> None:
    op.create_table(
        "waiting",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("awaits", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="waiting_pkey"),
        comment="Records that came before what they need; they are handled when it comes.",
    )
    op.create_index("waiting_awaits_idx", "waiting", ["awaits", "id"], unique=False)
