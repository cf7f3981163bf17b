"""Messaging's tables. `contacts` and the texts of `messages` are the only personal data."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from chassis.tables import moment, service_metadata

metadata = service_metadata()

contacts = sa.Table(
    "contacts",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("time_zone", sa.Text, nullable=False),
    sa.Column("telegram_chat_id", sa.BigInteger),
    sa.Column("consents", ARRAY(sa.Text), nullable=False),
    sa.Column("unreachable", ARRAY(sa.Text), nullable=False),
    moment("as_of"),
    sa.Column("telegram_free_at", sa.DateTime(timezone=True), nullable=False, server_default="epoch"),
    moment("telegram_bad_since", nullable=True),
    moment("erased_at", nullable=True),
    comment="What is needed to reach each customer. An erased one keeps the bare row. Locked before the messages.",
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("turn", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("message_key", sa.Text, nullable=False, unique=True),
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
    moment("accepted_at"),
    moment("due_at", nullable=True),
    moment("expires_at", nullable=True),
    moment("sending_at", nullable=True),
    moment("lease_until", nullable=True),
    moment("settled_at", nullable=True),
    sa.CheckConstraint("purpose IN ('service', 'advertising')", name="purpose"),
    sa.CheckConstraint(
        "status IN ('accepted', 'scheduled', 'sending', 'sent', 'failed', 'unknown', 'expired')", name="status"
    ),
    sa.CheckConstraint("(status = 'sending') = (lease_until IS NOT NULL)", name="lease"),
    sa.CheckConstraint(
        "status NOT IN ('accepted', 'scheduled') OR (text IS NOT NULL AND channel IS NOT NULL)", name="sendable"
    ),
    sa.CheckConstraint("status <> 'scheduled' OR due_at IS NOT NULL", name="due"),
    comment="Every message to a customer, in order of `turn`; an erased customer's have no text.",
)
sa.Index("messages_customer_id_id_idx", messages.c.customer_id, messages.c.id)
sa.Index("messages_status_id_idx", messages.c.status, messages.c.id)
sa.Index("messages_accepted_at_idx", messages.c.accepted_at, postgresql_using="brin")
sa.Index("messages_waiting_idx", messages.c.turn, postgresql_where=sa.text("status = 'accepted'"))
sa.Index("messages_due_at_idx", messages.c.due_at, postgresql_where=sa.text("status = 'scheduled'"))
sa.Index(
    "messages_open_idx",
    messages.c.customer_id,
    messages.c.turn,
    postgresql_where=sa.text("status IN ('accepted', 'sending')"),
)
sa.Index("messages_lease_until_idx", messages.c.lease_until, postgresql_where=sa.text("status = 'sending'"))

channels = sa.Table(
    "channels",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("free_at", sa.DateTime(timezone=True), nullable=False, server_default="epoch"),
    sa.Column("paused_until", sa.DateTime(timezone=True), nullable=False, server_default="epoch"),
    sa.Column("troubles", sa.Integer, nullable=False, server_default="0"),
    sa.Column("throttled_customer_id", UUID(as_uuid=True)),
    comment="The pace of each channel over all instances: its next free slot, and how long it rests after trouble.",
)

tariffs = sa.Table(
    "tariffs",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("since", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("cost_micros", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.CheckConstraint("cost_micros >= 0", name="cost_micros"),
    comment="What one message costs on each channel from a moment on, millionths of the money unit.",
)
