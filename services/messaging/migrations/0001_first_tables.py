"""Contacts, messages, the pace of the channels and what they cost."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from chassis.migrations import create_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_chassis_tables(op.get_bind())
    _contacts()
    _messages()
    _channels()


def _contacts() -> None:
    op.create_table(
        "contacts",
        sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("telegram_chat_id", sa.BigInteger),
        sa.Column("consents", ARRAY(sa.Text), nullable=False),
        sa.Column("unreachable", ARRAY(sa.Text), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("telegram_free_at", sa.DateTime(timezone=True), nullable=False, server_default="epoch"),
        sa.Column("telegram_bad_since", sa.DateTime(timezone=True)),
        sa.Column("erased_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("customer_id", name="contacts_pkey"),
        comment="What is needed to reach each customer. An erased one keeps the bare row. Locked before the messages.",
    )


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", UUID(as_uuid=True), nullable=False),
        sa.Column("turn", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("message_key", sa.Text, nullable=False),
        sa.Column("asked_hash", sa.BigInteger, nullable=False),
        sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
        sa.Column("template", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("language", sa.Text),
        sa.Column("text", sa.Text),
        sa.Column("buttons", JSONB, nullable=False),
        sa.Column("channel", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("provider_message_id", sa.Text),
        sa.Column("cost_micros", sa.BigInteger),
        sa.Column("cost_currency", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("traceparent", sa.Text),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("sending_at", sa.DateTime(timezone=True)),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="messages_pkey"),
        sa.UniqueConstraint("message_key", name="messages_message_key_key"),
        sa.CheckConstraint("purpose IN ('service', 'advertising')", name=op.f("messages_purpose_check")),
        sa.CheckConstraint(
            "status IN ('accepted', 'sending', 'sent', 'failed', 'unknown', 'expired')",
            name=op.f("messages_status_check"),
        ),
        sa.CheckConstraint("(status = 'sending') = (lease_until IS NOT NULL)", name=op.f("messages_lease_check")),
        sa.CheckConstraint(
            "status <> 'accepted' OR (text IS NOT NULL AND channel IS NOT NULL)",
            name=op.f("messages_sendable_check"),
        ),
        comment="Every message to a customer, in order of `turn`; an erased customer's have no text.",
    )
    op.execute("ALTER TABLE messages SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)")
    op.create_index("messages_customer_id_id_idx", "messages", ["customer_id", "id"])
    op.create_index("messages_status_id_idx", "messages", ["status", "id"])
    op.create_index("messages_accepted_at_idx", "messages", ["accepted_at"], postgresql_using="brin")
    op.create_index("messages_waiting_idx", "messages", ["turn"], postgresql_where=sa.text("status = 'accepted'"))
    op.create_index(
        "messages_open_idx",
        "messages",
        ["customer_id", "turn"],
        postgresql_where=sa.text("status IN ('accepted', 'sending')"),
    )
    op.create_index(
        "messages_lease_until_idx", "messages", ["lease_until"], postgresql_where=sa.text("status = 'sending'")
    )


def _channels() -> None:
    """Telegram takes messages for nothing; the currency is the one that nothing is counted in."""
    op.create_table(
        "channels",
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("free_at", sa.DateTime(timezone=True), nullable=False, server_default="epoch"),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=False, server_default="epoch"),
        sa.Column("troubles", sa.Integer, nullable=False, server_default="0"),
        sa.Column("throttled_customer_id", UUID(as_uuid=True)),
        sa.PrimaryKeyConstraint("channel", name="channels_pkey"),
        comment="The pace of each channel over all instances: its next free slot, and how long it rests after trouble.",
    )
    op.create_table(
        "tariffs",
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cost_micros", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("channel", "since", name="tariffs_pkey"),
        sa.CheckConstraint("cost_micros >= 0", name=op.f("tariffs_cost_micros_check")),
        comment="What one message costs on each channel from a moment on, millionths of the money unit.",
    )
    op.execute("INSERT INTO channels (channel) VALUES ('telegram')")
    op.execute("INSERT INTO tariffs (channel, since, cost_micros, currency) VALUES ('telegram', 'epoch', 0, 'RUB')")


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
