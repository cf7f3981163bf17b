"""Limits against fraud: what is counted, what is flagged for the staff, tills that guess card numbers.

Returns of before have no terminal: the windows of limits look back a day at most.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TYPES = (
    "purchase",
    "order_payment",
    "return",
    "cancellation",
    "refund",
    "registration",
    "birthday",
    "referral",
    "activity",
    "promotion",
    "gift",
    "compensation",
    "manual",
    "expiry",
    "merge",
    "unmerge",
    "reversal",
    "review",
)
SPENT_OF_RETURNS = """
UPDATE returns SET spent_minor = -returns.total_minor FROM purchases
WHERE purchases.receipt_id = returns.receipt_id AND withheld IS NULL
"""


def upgrade() -> None:
    _operations()
    _counted()
    _guesses()
    _reviews()


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")


def _operations() -> None:
    op.drop_constraint(op.f("operations_type_check"), "operations")
    op.create_check_constraint(op.f("operations_type_check"), "operations", f"type IN {TYPES}")


def _counted() -> None:
    op.create_index("purchases_terminal_id_at_idx", "purchases", ["terminal_id", "at"])
    op.add_column("returns", sa.Column("customer_id", sa.UUID(), nullable=True))
    op.add_column("returns", sa.Column("card_number", sa.Text(), nullable=True))
    op.add_column("returns", sa.Column("terminal_id", sa.Text(), nullable=True))
    op.add_column("returns", sa.Column("spent_minor", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(sa.text(SPENT_OF_RETURNS))
    op.create_table_comment(
        "returns",
        "What came back of a purchase, one row a return or cancellation. `customer_id`: who had bought; "
        "`spent_minor`: by how much it changed what counts for the level.",
    )
    op.create_index("returns_customer_id_returned_at_idx", "returns", ["customer_id", "returned_at"])
    op.create_index("returns_terminal_id_returned_at_idx", "returns", ["terminal_id", "returned_at"])
    op.create_table(
        "unmatched_returns",
        sa.Column("return_id", sa.Text(), nullable=False),
        sa.Column("terminal_id", sa.Text(), nullable=False),
        sa.Column("returned_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("return_id", name=op.f("unmatched_returns_pkey")),
        comment="Returns and cancellations whose purchase has not come, while a limit counts them.",
    )
    op.create_index(
        "unmatched_returns_terminal_id_returned_at_idx", "unmatched_returns", ["terminal_id", "returned_at"]
    )


def _guesses() -> None:
    op.create_table(
        "guesses",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("terminal_id", sa.Text(), nullable=False),
        sa.Column("guessed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("guesses_pkey")),
        comment="Cards and phones that a till asked for and that nobody has, of its last window; not which.",
    )
    op.create_index("guesses_terminal_id_guessed_at_idx", "guesses", ["terminal_id", "guessed_at"])


def _reviews() -> None:
    op.create_table(
        "reviews",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("limit_code", sa.Text(), nullable=False),
        sa.Column("per", sa.Text(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("counted", sa.BigInteger(), nullable=False),
        sa.Column("most", sa.BigInteger(), nullable=False),
        sa.Column("hard", sa.Boolean(), nullable=False),
        sa.Column("receipt_id", sa.Text(), nullable=False),
        sa.Column("return_id", sa.Text(), nullable=True),
        sa.Column("operation_id", sa.UUID(), nullable=True),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("terminal_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("flagged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("correction_id", sa.UUID(), nullable=True),
        sa.Column("spent_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("state IN ('open', 'approved', 'rejected')", name=op.f("reviews_state_check")),
        sa.CheckConstraint("(state = 'open') = (decided_at IS NULL)", name=op.f("reviews_decided_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("reviews_pkey")),
        comment="Purchases and returns beyond a limit, for the staff to look at. `correction_id`: the operation by "
        "which the decision changed what the purchase had earned; `spent_minor`: by how much it changed what counts "
        "for the level.",
    )
    op.create_index("reviews_receipt_id_idx", "reviews", ["receipt_id"])
    op.create_index("reviews_state_id_idx", "reviews", ["state", "id"])
    op.create_index("reviews_customer_id_id_idx", "reviews", ["customer_id", "id"])
    op.create_index("reviews_terminal_id_id_idx", "reviews", ["terminal_id", "id"])
    op.create_index(
        "reviews_correction_id_idx", "reviews", ["correction_id"], postgresql_where=sa.text("correction_id IS NOT NULL")
    )
