"""Customers, their cards and consents, and who changed what."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from chassis.migrations import create_chassis_tables
from chassis.tables import moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SOUGHT = (
    "translate(lower(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' ' || coalesce(phone, '') || ' '"
    " || coalesce(email, '')), 'ё', 'е')"
)


def upgrade() -> None:
    create_chassis_tables(op.get_bind())
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("CREATE SEQUENCE card_numbers MAXVALUE 9999999999")
    _customers()
    _cards()
    _consents()
    _audit()


def _customers() -> None:
    op.create_table(
        "customers",
        sa.Column("id", UUID(as_uuid=True), nullable=False),
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
        moment("erased_at", nullable=True),
        sa.Column("sought", sa.Text, sa.Computed(SOUGHT, persisted=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("customers_pkey")),
        sa.UniqueConstraint("phone", name=op.f("customers_phone_key")),
        sa.UniqueConstraint("telegram_chat_id", name=op.f("customers_telegram_chat_id_key")),
        sa.CheckConstraint(
            "erased_at IS NULL OR num_nonnulls(phone, first_name, last_name, birth_date, email, telegram_chat_id) = 0",
            name=op.f("customers_erased_check"),
        ),
        comment="Who the customer is. Everything that is said of a customer is said while this row is locked.",
    )
    op.create_index(
        "customers_sought_idx",
        "customers",
        ["sought"],
        postgresql_using="gin",
        postgresql_ops={"sought": "gin_trgm_ops"},
    )


def _cards() -> None:
    op.create_table(
        "cards",
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        moment("added_at"),
        sa.PrimaryKeyConstraint("number", name=op.f("cards_pkey")),
        sa.CheckConstraint("state IN ('active', 'blocked')", name=op.f("cards_state_check")),
        comment="Loyalty cards. A card never changes hands.",
    )
    op.create_index("cards_customer_id_idx", "cards", ["customer_id"])


def _consents() -> None:
    op.create_table(
        "consents",
        sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        moment("given_at"),
        sa.Column("source", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "channel", name=op.f("consents_pkey")),
        comment="Channels on which a customer allows advertising now.",
    )
    op.create_table(
        "consent_history",
        sa.Column("id", UUID(as_uuid=True), nullable=False),
        sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("given", sa.Boolean, nullable=False),
        moment("at"),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("consent_history_pkey")),
        comment="Every consent given and withdrawn: the proof. It names nobody, so that it outlives an erasure.",
    )
    op.create_index("consent_history_customer_id_idx", "consent_history", ["customer_id", "id"])
    op.create_table(
        "unreachable_channels",
        sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        moment("since"),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "channel", name=op.f("unreachable_channels_pkey")),
        comment="Channels on which messages no longer arrive; a new address of the channel takes the row away.",
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", UUID(as_uuid=True), nullable=False),
        sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
        moment("at"),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("what", ARRAY(sa.Text), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
        comment="Who did what to a customer's record, and when: names of fields, channels, card numbers; no values.",
    )
    op.create_index("audit_customer_id_idx", "audit", ["customer_id", "id"])


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
