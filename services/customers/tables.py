"""Customers' tables.

No foreign keys: rows about a customer are written only while the customer's own row is locked, which proves more than
a foreign key does, and a key check that was planned on an empty table scans it for as long as the connection lives.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from chassis.tables import moment, service_metadata

metadata = service_metadata()

SOUGHT = (
    "translate(lower(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' ' || coalesce(phone, '') || ' '"
    " || coalesce(email, '')), 'ё', 'е')"
)
"""What operators search in. It goes with the data that it is made of."""

customers = sa.Table(
    "customers",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("phone", sa.Text),
    sa.Column("first_name", sa.Text),
    sa.Column("last_name", sa.Text),
    sa.Column("birth_date", sa.Date),
    sa.Column("email", sa.Text),
    sa.Column("telegram_chat_id", sa.BigInteger),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("time_zone", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    moment("registered_at"),
    moment("phone_changed_at", nullable=True),
    moment("email_changed_at", nullable=True),
    moment("telegram_changed_at", nullable=True),
    moment("blocked_at", nullable=True),
    sa.Column("block_reason", sa.Text),
    moment("erased_at", nullable=True),
    sa.Column("merged_into", UUID(as_uuid=True)),
    moment("merged_at", nullable=True),
    sa.Column(
        "taken",
        JSONB(none_as_null=True),
        comment="What the survivor took over from a merged record: fields and values as texts.",
    ),
    sa.Column("sought", sa.Text, sa.Computed(SOUGHT, persisted=True)),
    sa.UniqueConstraint("phone"),
    sa.UniqueConstraint("telegram_chat_id"),
    sa.CheckConstraint(
        "erased_at IS NULL OR num_nonnulls(phone, first_name, last_name, birth_date, email, telegram_chat_id) = 0",
        name="erased",
    ),
    sa.CheckConstraint("(blocked_at IS NULL) = (block_reason IS NULL)", name="blocked"),
    sa.CheckConstraint("num_nulls(merged_into, merged_at, taken) IN (0, 3) AND merged_into <> id", name="merged"),
    sa.CheckConstraint("erased_at IS NULL OR coalesce(taken, '{}') = '{}'", name="taken"),
    comment="Who the customer is. Everything that is said of a customer is said while this row is locked.",
)
sa.Index("customers_sought_idx", customers.c.sought, postgresql_using="gin", postgresql_ops={"sought": "gin_trgm_ops"})
sa.Index("customers_merged_into_idx", customers.c.merged_into, postgresql_where=customers.c.merged_into.is_not(None))

cards = sa.Table(
    "cards",
    metadata,
    sa.Column("number", sa.Text, primary_key=True),
    sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("replaced_by", sa.Text),
    sa.Column("came_with", UUID(as_uuid=True), comment="The merged record that it goes back to if they are parted."),
    moment("added_at"),
    sa.CheckConstraint("state IN ('active', 'blocked')", name="state"),
    sa.CheckConstraint("replaced_by IS NULL OR state = 'blocked'", name="replaced_by"),
    comment="Loyalty cards. A card changes hands only together with the record of its holder.",
)
sa.Index("cards_customer_id_idx", cards.c.customer_id)
sa.Index("cards_came_with_idx", cards.c.came_with, postgresql_where=cards.c.came_with.is_not(None))

consents = sa.Table(
    "consents",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    moment("given_at"),
    sa.Column("source", sa.Text, nullable=False),
    comment="Channels on which a customer allows advertising now.",
)

consent_history = sa.Table(
    "consent_history",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("given", sa.Boolean, nullable=False),
    moment("at"),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    comment="Every consent given and withdrawn: the proof. It names nobody, so that it outlives an erasure.",
)
sa.Index("consent_history_customer_id_idx", consent_history.c.customer_id, consent_history.c.id)

unreachable_channels = sa.Table(
    "unreachable_channels",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    moment("since"),
    sa.Column("reason", sa.Text, nullable=False),
    comment="Channels on which messages no longer arrive; a new address of the channel takes the row away.",
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
    moment("at"),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("what", ARRAY(sa.Text), nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    comment="Who did what to a customer's record, and when: names of fields, channels, card numbers; no values.",
)
sa.Index("audit_customer_id_idx", audit.c.customer_id, audit.c.id)
