"""The ledger's first tables, and the first terms."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrations import create_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FIRST_TERMS = """
INSERT INTO terms (id, in_force_from, set_by, points_currency, point_worth_minor, currencies, levels, lot_life_days)
VALUES ('00000000-0000-7000-8000-000000000001', '2000-01-01T00:00:00Z', 'migration', 'points', 100,
        '{RUB,USD,EUR,BYN,KZT}',
        '[{"code": "base", "spent_minor_from": 0, "rate_basis_points": 500},
          {"code": "silver", "spent_minor_from": 5000000, "rate_basis_points": 600},
          {"code": "gold", "spent_minor_from": 15000000, "rate_basis_points": 700}]',
        365)
"""
STORAGE = """
ALTER TABLE accounts SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0)
"""


def upgrade() -> None:
    create_chassis_tables(op.get_bind())
    _terms()
    _accounts()
    _identifiers()
    _purchases()
    _returns()
    _operations()
    _entries()
    _lots()
    op.execute(STORAGE)
    op.execute(sa.text(FIRST_TERMS.replace(":", r"\:")))


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")


def _terms() -> None:
    op.create_table(
        "terms",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("in_force_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("points_currency", sa.Text(), nullable=False),
        sa.Column("point_worth_minor", sa.BigInteger(), nullable=False),
        sa.Column("currencies", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("levels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("lot_life_days", sa.Integer(), nullable=True),
        sa.CheckConstraint("point_worth_minor > 0", name="terms_worth_check"),
        sa.PrimaryKeyConstraint("id", name="terms_pkey"),
        comment="What the programme promises, one row a change; a purchase is priced by the terms of its own time.",
    )


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("points_currency", sa.Text(), nullable=False),
        sa.Column("balance", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("balance >= 0", name="accounts_balance_check"),
        sa.PrimaryKeyConstraint("id", name="accounts_pkey"),
        sa.UniqueConstraint("customer_id", "points_currency", name="accounts_customer_id_points_currency_key"),
        comment="One customer's points. `balance` is the sum of the entries; `spent_minor` decides the level.",
    )


def _identifiers() -> None:
    op.create_table(
        "identifiers",
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("usable", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint("kind IN ('card', 'phone', 'customer')", name="identifiers_kind_check"),
        sa.PrimaryKeyConstraint("identifier", name="identifiers_pkey"),
        comment="Which customer a card, a phone or a customer id of a purchase names; nobody's while one waits for it.",
    )
    op.create_index("identifiers_customer_id_idx", "identifiers", ["customer_id"], unique=False)


def _purchases() -> None:
    op.create_table(
        "purchases",
        sa.Column("receipt_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.UUID(), nullable=True),
        sa.Column("account_id", sa.UUID(), nullable=True),
        sa.Column("customer_id", sa.UUID(), nullable=True),
        sa.Column("store_id", sa.Text(), nullable=True),
        sa.Column("terminal_id", sa.Text(), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("total_minor", sa.BigInteger(), nullable=True),
        sa.Column("points", sa.BigInteger(), nullable=True),
        sa.Column("level", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.BigInteger(), nullable=True),
        sa.Column("lines", postgresql.JSON(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "state IN ('awaited', 'completed', 'partly_returned', 'returned', 'cancelled')",
            name="purchases_state_check",
        ),
        sa.PrimaryKeyConstraint("receipt_id", name="purchases_pkey"),
        comment="One row a receipt; 'awaited' where its return came first. `lines` as in purchases.py.",
    )


def _returns() -> None:
    op.create_table(
        "returns",
        sa.Column("return_id", sa.Text(), nullable=False),
        sa.Column("receipt_id", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.UUID(), nullable=False),
        sa.Column("returned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.BigInteger(), nullable=False),
        sa.Column("lines", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("return_id", name="returns_pkey"),
        comment="What came back of a purchase, one row a return or cancellation.",
    )
    op.create_index("returns_receipt_id_idx", "returns", ["receipt_id"], unique=False)


def _operations() -> None:
    op.create_table(
        "operations",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("receipt_id", sa.Text(), nullable=False),
        sa.Column("reverses", sa.UUID(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("type IN ('purchase', 'return', 'cancellation')", name="operations_type_check"),
        sa.PrimaryKeyConstraint("id", name="operations_pkey"),
        comment="The ledger's operations, append-only; `points` as it changed the account.",
    )


def _entries() -> None:
    op.create_table(
        "entries",
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("operation_id", sa.UUID(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "operation_id", name="entries_pkey"),
        comment="Double entry, append-only. The programme's own account has no balance row: its entries are summed.",
    )


def _lots() -> None:
    op.create_table(
        "lots",
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("operation_id", sa.UUID(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("remaining BETWEEN 0 AND amount", name="lots_remaining_check"),
        sa.PrimaryKeyConstraint("account_id", "operation_id", name="lots_pkey"),
        comment="Points that came in together and burn together; the operation is their source.",
    )
