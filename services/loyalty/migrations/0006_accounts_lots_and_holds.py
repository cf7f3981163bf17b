"""Terms as one document; kinds of account, families and merges; what a lot is waiting for; quotes, holds, debts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TERMS_AS_RULES = """
UPDATE terms SET rules = json_build_object(
    'points_currencies', json_build_array(json_build_object(
        'code', points_currency, 'name_ru', 'баллы', 'name_en', 'points', 'scale', 0,
        'worth_minor', point_worth_minor)),
    'account_kinds', json_build_array(json_build_object(
        'code', 'main', 'name_ru', 'Основной', 'name_en', 'Main', 'points_currency', points_currency)),
    'currencies', currencies, 'levels', levels, 'lot_life_days', lot_life_days,
    'lots_age_while_frozen', lots_age_while_frozen, 'returned_but_spent', returned_but_spent)
"""
POINTS_OF_LINES = """
WITH line AS (
    SELECT receipt_id, place, line, points, (line ->> 4)::numeric AS paid,
           sum((line ->> 4)::numeric) OVER (PARTITION BY receipt_id) AS total
    FROM purchases, json_array_elements(lines) WITH ORDINALITY AS element (line, place)
), share AS (
    SELECT *, CASE WHEN total = 0 THEN 0 ELSE div(points * paid, total) END AS part,
           CASE WHEN total = 0 THEN 0 ELSE mod(points * paid, total) END AS remainder
    FROM line
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY receipt_id ORDER BY remainder DESC, place) AS rank,
           points - sum(part) OVER (PARTITION BY receipt_id) AS missing
    FROM share
), packed AS (
    SELECT receipt_id, json_agg(json_build_array(
               line -> 0, line -> 1, line -> 2, line -> 3, line -> 4,
               part + CASE WHEN total > 0 AND rank <= missing THEN 1 ELSE 0 END, 0, 0) ORDER BY place) AS lines
    FROM ranked GROUP BY receipt_id
)
UPDATE purchases SET lines = packed.lines FROM packed WHERE packed.receipt_id = purchases.receipt_id
"""
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
)
STATES = ("awaited", "quoted", "held", "completed", "partly_returned", "returned", "cancelled", "abandoned")

COMMENTS = {
    "accounts": (
        "A customer's points of one kind. `balance` is the sum of the entries, and of the lots less the debt."
    ),
    "coefficient_changes": "Who changed a customer's own coefficients, and why.",
    "debts": "By how much an operation made more owed, or less (negative).",
    "hold_lots": "Of which lots a hold's points are.",
    "holds": "Points reserved for a receipt. The account's lock is the lock of its holds.",
    "identifiers": (
        "Whom a card, a phone or a customer id of a purchase names, and whose accounts it opens; nobody's "
        "while a purchase waits for it."
    ),
    "lots": (
        "Points that came in together and burn together; the operation is their source. `came_from`: the "
        "account from which a merge moved it; then all that is in it is told by its movements."
    ),
    "members": "Customers whose cards open another customer's accounts.",
    "merges": ("Customers that are part of another one, or were; `before` as in merging.py: what an unmerge restores."),
    "notice_days": "Days whose expiring points are told of, or about to be.",
    "notices": "Accounts whose points burn on that day and are still to be told of.",
    "purchases": (
        "One row a receipt; 'awaited' where its return came first. `customer_id`: who bought. `lines` as in "
        "purchases.py."
    ),
    "terms": "What the programme promises, one row a change; `rules` as in terms.py.",
}


def upgrade() -> None:
    _terms()
    _accounts()
    _members()
    _purchases()
    _operations()
    _lots()
    _holds()
    for table, comment in COMMENTS.items():
        op.create_table_comment(table, comment)


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")


def _terms() -> None:
    op.add_column("terms", sa.Column("rules", postgresql.JSON(astext_type=sa.Text()), nullable=True))
    op.execute(sa.text(TERMS_AS_RULES.replace(":", r"\:")))
    op.alter_column("terms", "rules", nullable=False)
    for column in (
        "points_currency",
        "point_worth_minor",
        "currencies",
        "levels",
        "lot_life_days",
        "lots_age_while_frozen",
        "returned_but_spent",
    ):
        op.drop_column("terms", column)


def _accounts() -> None:
    op.add_column("accounts", sa.Column("kind", sa.Text(), server_default="main", nullable=False))
    op.alter_column("accounts", "kind", server_default=None)
    for figure in ("pending", "held", "debt"):
        op.add_column("accounts", sa.Column(figure, sa.BigInteger(), server_default="0", nullable=False))
    for coefficient in ("bonus_coefficient", "redemption_coefficient"):
        op.add_column("accounts", sa.Column(coefficient, sa.Integer(), server_default="10000", nullable=False))
    op.create_table(
        "coefficient_changes",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("bonus_before", sa.Integer(), nullable=False),
        sa.Column("bonus_after", sa.Integer(), nullable=False),
        sa.Column("redemption_before", sa.Integer(), nullable=False),
        sa.Column("redemption_after", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="coefficient_changes_pkey"),
    )
    op.create_index("coefficient_changes_account_id_idx", "coefficient_changes", ["account_id", "id"])
    op.add_column("accounts", sa.Column("merged_into", sa.UUID(), nullable=True))
    op.create_index(
        "accounts_merged_into_idx", "accounts", ["merged_into"], postgresql_where=sa.text("merged_into IS NOT NULL")
    )
    op.drop_constraint("accounts_customer_id_points_currency_key", "accounts")
    op.create_unique_constraint("accounts_customer_id_kind_key", "accounts", ["customer_id", "kind"])
    op.drop_constraint(op.f("accounts_accounts_balance_check_check"), "accounts")
    op.create_check_constraint("balance", "accounts", "balance + debt >= 0 AND debt >= 0")
    op.create_check_constraint("buckets", "accounts", "pending >= 0 AND held >= 0 AND pending + held <= balance + debt")
    op.create_check_constraint("coefficients", "accounts", "bonus_coefficient >= 0 AND redemption_coefficient >= 0")


def _members() -> None:
    op.create_table(
        "members",
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("holder_id", sa.UUID(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("customer_id <> holder_id", name="holder"),
        sa.CheckConstraint("cause IN ('family', 'merge')", name="cause"),
        sa.PrimaryKeyConstraint("customer_id", name="members_pkey"),
    )
    op.create_index("members_holder_id_idx", "members", ["holder_id"])
    op.create_table(
        "merges",
        sa.Column("merged_id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("merged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("unmerged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("before", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("merged_id", name="merges_pkey"),
    )
    op.add_column("identifiers", sa.Column("holder_id", sa.UUID(), nullable=True))
    op.execute("UPDATE identifiers SET holder_id = customer_id")
    op.create_check_constraint("holder", "identifiers", "(customer_id IS NULL) = (holder_id IS NULL)")


def _purchases() -> None:
    op.add_column("purchases", sa.Column("card_number", sa.Text(), nullable=True))
    op.add_column("purchases", sa.Column("quoted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("purchases", sa.Column("discount_minor", sa.BigInteger(), nullable=True))
    op.add_column("purchases", sa.Column("payment_id", sa.UUID(), nullable=True))
    for figure in ("points_paid", "paid_minor"):
        op.add_column("purchases", sa.Column(figure, sa.BigInteger(), server_default="0", nullable=False))
    op.drop_constraint(op.f("purchases_purchases_state_check_check"), "purchases")
    op.create_check_constraint("state", "purchases", f"state IN {STATES}")
    op.create_index("purchases_quoted_at_idx", "purchases", ["quoted_at"], postgresql_where=sa.text("state = 'quoted'"))
    op.execute(sa.text(POINTS_OF_LINES.replace("::", r"\:\:")))
    op.add_column("returns", sa.Column("refund_id", sa.UUID(), nullable=True))
    for figure in ("refunded", "refund_burned"):
        op.add_column("returns", sa.Column(figure, sa.BigInteger(), server_default="0", nullable=False))


def _operations() -> None:
    op.drop_constraint(op.f("operations_type_check"), "operations")
    op.create_check_constraint("type", "operations", f"type IN {TYPES}")
    op.drop_index("operations_reversal_key", "operations")
    op.create_index(
        "operations_reverses_idx", "operations", ["reverses"], postgresql_where=sa.text("reverses IS NOT NULL")
    )


def _lots() -> None:
    op.add_column("lots", sa.Column("held", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("lots", sa.Column("pending", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("lots", sa.Column("activates_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("lots", sa.Column("came_from", sa.UUID(), nullable=True))
    op.drop_constraint(op.f("lots_lots_remaining_check_check"), "lots")
    op.create_check_constraint("remaining", "lots", "remaining BETWEEN held AND amount AND held >= 0")
    op.create_check_constraint("pending", "lots", "NOT pending OR (held = 0 AND activates_at IS NOT NULL)")
    op.create_index("lots_activates_at_idx", "lots", ["activates_at"], postgresql_where=sa.text("pending"))
    op.create_table(
        "notice_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("collected_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("day", name="notice_days_pkey"),
    )
    op.create_table(
        "notices",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("day", "account_id", name="notices_pkey"),
    )
    op.create_table(
        "debts",
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("operation_id", sa.UUID(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points <> 0", name="points"),
        sa.PrimaryKeyConstraint("account_id", "operation_id", name="debts_pkey"),
    )


def _holds() -> None:
    op.create_table(
        "holds",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("receipt_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("worth_minor", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("points > 0", name="points"),
        sa.CheckConstraint("state IN ('held', 'captured', 'released', 'timed_out')", name="state"),
        sa.CheckConstraint("(state = 'held') = (settled_at IS NULL)", name="settled"),
        sa.PrimaryKeyConstraint("id", name="holds_pkey"),
    )
    held = sa.text("state = 'held'")
    op.create_index("holds_receipt_id_key", "holds", ["receipt_id"], unique=True, postgresql_where=held)
    op.create_index("holds_expires_at_idx", "holds", ["expires_at"], postgresql_where=held)
    op.create_index("holds_account_id_idx", "holds", ["account_id"], postgresql_where=held)
    op.create_table(
        "hold_lots",
        sa.Column("hold_id", sa.UUID(), nullable=False),
        sa.Column("lot", sa.UUID(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points > 0", name="points"),
        sa.PrimaryKeyConstraint("hold_id", "lot", name="hold_lots_pkey"),
    )
