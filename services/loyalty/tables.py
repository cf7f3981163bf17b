"""Loyalty's tables. No foreign keys between the append-only ones: `reconciliation.py` proves what they would."""

from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, UUID

from chassis.tables import moment, service_metadata

metadata = service_metadata()

OperationType = Literal[
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
]
TerminalChange = Literal["registered", "moved", "key_set", "blocked", "unblocked"]

terms = sa.Table(
    "terms",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    moment("in_force_from"),
    sa.Column("set_by", sa.Text, nullable=False),
    moment("set_at"),
    sa.Column("rules", JSON, nullable=False),
    comment="What the programme promises, one row a change; `rules` as in terms.py.",
)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("points_currency", sa.Text, nullable=False),
    sa.Column("points_scale", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("balance", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("pending", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("held", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("debt", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("spent_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("bonus_coefficient", sa.Integer, nullable=False, server_default="10000"),
    sa.Column("redemption_coefficient", sa.Integer, nullable=False, server_default="10000"),
    moment("opened_at"),
    moment("frozen_at", nullable=True),
    sa.Column("frozen_because", sa.Text),
    moment("freeze_changed_at", nullable=True),
    sa.Column("merged_into", UUID(as_uuid=True)),
    sa.UniqueConstraint("customer_id", "kind"),
    sa.CheckConstraint("balance + debt >= 0 AND debt >= 0", name="balance"),
    sa.CheckConstraint("pending >= 0 AND held >= 0 AND pending + held <= balance + debt", name="buckets"),
    sa.CheckConstraint("bonus_coefficient >= 0 AND redemption_coefficient >= 0", name="coefficients"),
    sa.CheckConstraint("(frozen_at IS NULL) = (frozen_because IS NULL)", name="frozen"),
    comment="A customer's points of one kind. `balance` is the sum of the entries, and of the lots less the debt.",
)
sa.Index("accounts_merged_into_idx", accounts.c.merged_into, postgresql_where=sa.text("merged_into IS NOT NULL"))

coefficient_changes = sa.Table(
    "coefficient_changes",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("account_id", UUID(as_uuid=True), nullable=False),
    moment("changed_at"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("comment", sa.Text),
    sa.Column("bonus_before", sa.Integer, nullable=False),
    sa.Column("bonus_after", sa.Integer, nullable=False),
    sa.Column("redemption_before", sa.Integer, nullable=False),
    sa.Column("redemption_after", sa.Integer, nullable=False),
    comment="Who changed a customer's own coefficients, and why.",
)
sa.Index("coefficient_changes_account_id_idx", coefficient_changes.c.account_id, coefficient_changes.c.id)

members = sa.Table(
    "members",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("holder_id", UUID(as_uuid=True), nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    moment("since"),
    sa.CheckConstraint("customer_id <> holder_id", name="holder"),
    sa.CheckConstraint("cause IN ('family', 'merge')", name="cause"),
    comment="Customers whose cards open another customer's accounts.",
)
sa.Index("members_holder_id_idx", members.c.holder_id)

merges = sa.Table(
    "merges",
    metadata,
    sa.Column("merged_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
    moment("merged_at"),
    moment("unmerged_at", nullable=True),
    sa.Column("before", JSON, nullable=False),
    comment="Customers that are part of another one, or were; `before` as in merging.py: what an unmerge restores.",
)

identifiers = sa.Table(
    "identifiers",
    metadata,
    sa.Column("identifier", sa.Text, primary_key=True),
    sa.Column("customer_id", UUID(as_uuid=True)),
    sa.Column("holder_id", UUID(as_uuid=True)),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("usable", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.CheckConstraint("kind IN ('card', 'phone', 'customer')", name="kind"),
    sa.CheckConstraint("(customer_id IS NULL) = (holder_id IS NULL)", name="holder"),
    comment="Whom a card, a phone or a customer id of a purchase names, and whose accounts it opens; nobody's while a "
    "purchase waits for it.",
)
sa.Index("identifiers_customer_id_idx", identifiers.c.customer_id)

purchases = sa.Table(
    "purchases",
    metadata,
    sa.Column("receipt_id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("operation_id", UUID(as_uuid=True)),
    sa.Column("account_id", UUID(as_uuid=True)),
    sa.Column("customer_id", UUID(as_uuid=True)),
    sa.Column("card_number", sa.Text),
    sa.Column("store_id", sa.Text),
    sa.Column("terminal_id", sa.Text),
    moment("quoted_at", nullable=True),
    moment("completed_at", nullable=True),
    sa.Column("at", sa.DateTime(timezone=True), sa.Computed("COALESCE(completed_at, quoted_at)", persisted=True)),
    sa.Column("currency", sa.Text),
    sa.Column("total_minor", sa.BigInteger),
    sa.Column("discount_minor", sa.BigInteger),
    sa.Column("points", sa.BigInteger),
    sa.Column("level", sa.Text),
    sa.Column("withheld", sa.Text),
    sa.Column("payment_id", UUID(as_uuid=True)),
    sa.Column("points_paid", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("paid_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("content_hash", sa.BigInteger),
    sa.Column("lines", JSON),
    sa.CheckConstraint(
        "state IN ('awaited', 'quoted', 'held', 'completed', 'partly_returned', 'returned', 'cancelled', 'abandoned')",
        name="state",
    ),
    comment="One row a receipt; 'awaited' where its return came first. `customer_id`: who bought. `lines` as in "
    "purchases.py.",
)
sa.Index("purchases_at_receipt_id_idx", purchases.c.at, purchases.c.receipt_id)
sa.Index("purchases_customer_id_at_idx", purchases.c.customer_id, purchases.c.at)
sa.Index("purchases_terminal_id_at_idx", purchases.c.terminal_id, purchases.c.at)
sa.Index("purchases_quoted_at_idx", purchases.c.quoted_at, postgresql_where=sa.text("state = 'quoted'"))

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("receipt_id", sa.Text, nullable=False),
    sa.Column("account_id", UUID(as_uuid=True), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("worth_minor", sa.BigInteger, nullable=False),
    sa.Column("redemption_coefficient", sa.Integer, nullable=False, server_default="10000"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("missing", sa.BigInteger, nullable=False, server_default="0"),
    moment("held_at"),
    moment("expires_at"),
    moment("settled_at", nullable=True),
    sa.CheckConstraint("points > 0", name="points"),
    sa.CheckConstraint("state IN ('held', 'captured', 'released', 'timed_out')", name="state"),
    sa.CheckConstraint("(state = 'held') = (settled_at IS NULL)", name="settled"),
    comment="Points reserved for a receipt. The account's lock is the lock of its holds. `redemption_coefficient`: the "
    "account's when they were held; `missing`: what a capture found no more.",
)
sa.Index("holds_receipt_id_key", holds.c.receipt_id, unique=True, postgresql_where=sa.text("state = 'held'"))
sa.Index("holds_expires_at_idx", holds.c.expires_at, postgresql_where=sa.text("state = 'held'"))
sa.Index("holds_account_id_idx", holds.c.account_id, postgresql_where=sa.text("state = 'held'"))

hold_lots = sa.Table(
    "hold_lots",
    metadata,
    sa.Column("hold_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("lot", UUID(as_uuid=True), primary_key=True),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.CheckConstraint("points > 0", name="points"),
    comment="Of which lots a hold's points are.",
)

returns = sa.Table(
    "returns",
    metadata,
    sa.Column("return_id", sa.Text, primary_key=True),
    sa.Column("receipt_id", sa.Text, nullable=False),
    sa.Column("operation_id", UUID(as_uuid=True), nullable=False),
    moment("returned_at"),
    sa.Column("total_minor", sa.BigInteger, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("written_off", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("refund_id", UUID(as_uuid=True)),
    sa.Column("refunded", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("refund_burned", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("content_hash", sa.BigInteger, nullable=False),
    sa.Column("lines", JSON, nullable=False),
    sa.Column("customer_id", UUID(as_uuid=True)),
    sa.Column("card_number", sa.Text),
    sa.Column("store_id", sa.Text),
    sa.Column("terminal_id", sa.Text),
    sa.Column("spent_minor", sa.BigInteger, nullable=False, server_default="0"),
    comment="What came back of a purchase, one row a return or cancellation. `customer_id`: who had bought; "
    "`store_id`, `terminal_id`: where it came back; `spent_minor`: by how much it changed what counts for the level.",
)
sa.Index("returns_receipt_id_idx", returns.c.receipt_id)
sa.Index("returns_operation_id_idx", returns.c.operation_id)
sa.Index("returns_customer_id_returned_at_idx", returns.c.customer_id, returns.c.returned_at)
sa.Index("returns_terminal_id_returned_at_idx", returns.c.terminal_id, returns.c.returned_at)

unmatched_returns = sa.Table(
    "unmatched_returns",
    metadata,
    sa.Column("return_id", sa.Text, primary_key=True),
    sa.Column("terminal_id", sa.Text, nullable=False),
    moment("returned_at"),
    comment="Returns and cancellations whose purchase has not come, while a limit counts them.",
)
sa.Index(
    "unmatched_returns_terminal_id_returned_at_idx", unmatched_returns.c.terminal_id, unmatched_returns.c.returned_at
)

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("account_id", UUID(as_uuid=True), nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("receipt_id", sa.Text),
    sa.Column("reverses", UUID(as_uuid=True)),
    moment("occurred_at"),
    moment("entered_at"),
    sa.CheckConstraint(f"type IN {get_args(OperationType)}", name="type"),
    comment="The ledger's operations, append-only; `points` as it changed the account.",
)
sa.Index("operations_reverses_idx", operations.c.reverses, postgresql_where=sa.text("reverses IS NOT NULL"))

commands = sa.Table(
    "commands",
    metadata,
    sa.Column("command_id", UUID(as_uuid=True), primary_key=True),
    moment("carried_out_at"),
    comment="Commands that were carried out: a topic that is read again changes nothing.",
)

operation_notes = sa.Table(
    "operation_notes",
    metadata,
    sa.Column("operation_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("comment", sa.Text),
    sa.Column("idempotency_key", sa.Text),
    comment="Who made an operation by hand, and why. `comment` is for the staff alone; `idempotency_key`: of the "
    "request, or the command's id.",
)

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("account_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("operation_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("balance_after", sa.BigInteger),
    comment="Double entry, append-only. The programme's own account has no balance row: its entries are summed.",
)

lots = sa.Table(
    "lots",
    metadata,
    sa.Column("account_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("operation_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("remaining", sa.BigInteger, nullable=False),
    sa.Column("held", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("pending", sa.Boolean, nullable=False, server_default=sa.false()),
    moment("activates_at", nullable=True),
    moment("expires_at", nullable=True),
    sa.Column("came_from", UUID(as_uuid=True)),
    sa.CheckConstraint("remaining >= held AND held >= 0", name="remaining"),
    sa.CheckConstraint("NOT pending OR (held = 0 AND activates_at IS NOT NULL)", name="pending"),
    comment="Points that came in together and burn together; the operation is their source. `came_from`: the account "
    "from which a merge moved it; then all that is in it is told by its movements.",
)
sa.Index("lots_expires_at_idx", lots.c.expires_at, postgresql_where=sa.text("remaining > 0"))
sa.Index("lots_activates_at_idx", lots.c.activates_at, postgresql_where=sa.text("pending"))

debts = sa.Table(
    "debts",
    metadata,
    sa.Column("account_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("operation_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.CheckConstraint("points <> 0", name="points"),
    comment="By how much an operation made more owed, or less (negative).",
)

notice_days = sa.Table(
    "notice_days",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    moment("collected_at"),
    comment="Days whose expiring points are told of, or about to be.",
)

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("account_id", UUID(as_uuid=True), primary_key=True),
    comment="Accounts whose points burn on that day and are still to be told of.",
)

lot_movements = sa.Table(
    "lot_movements",
    metadata,
    sa.Column("account_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("operation_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("lot", UUID(as_uuid=True), primary_key=True),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.CheckConstraint("points <> 0", name="points"),
    comment="What an operation took from a lot (negative) or gave back to it. `lot`: its source's operation.",
)

terminals = sa.Table(
    "terminals",
    metadata,
    sa.Column("terminal_id", sa.Text, primary_key=True),
    sa.Column("store_id", sa.Text, nullable=False),
    sa.Column("key_hash", sa.LargeBinary),
    moment("key_set_at", nullable=True),
    sa.Column("key_set_by", sa.Text),
    moment("blocked_at", nullable=True),
    sa.Column("blocked_by", sa.Text),
    moment("registered_at"),
    sa.Column("registered_by", sa.Text, nullable=False),
    sa.CheckConstraint("(key_hash IS NULL) = (key_set_at IS NULL)", name="key"),
    sa.CheckConstraint("(blocked_at IS NULL) = (blocked_by IS NULL)", name="blocked"),
    comment="The tills that speak HTTP. `key_hash`: SHA-256 of the secret, which is kept nowhere.",
)

terminal_changes = sa.Table(
    "terminal_changes",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("terminal_id", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    moment("at"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("store_id", sa.Text),
    sa.CheckConstraint(f"what IN {get_args(TerminalChange)}", name="what"),
    sa.CheckConstraint("store_id IS NULL OR what IN ('registered', 'moved')", name="store"),
    comment="Who did what to a till, append-only. `store_id`: where it stands from then on.",
)
sa.Index("terminal_changes_terminal_id_id_idx", terminal_changes.c.terminal_id, terminal_changes.c.id)

guesses = sa.Table(
    "guesses",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("terminal_id", sa.Text, nullable=False),
    moment("guessed_at"),
    comment="Cards and phones that a till asked for and that nobody has, of its last window; not which.",
)
sa.Index("guesses_terminal_id_guessed_at_idx", guesses.c.terminal_id, guesses.c.guessed_at)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("limit_code", sa.Text, nullable=False),
    sa.Column("per", sa.Text, nullable=False),
    sa.Column("measure", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("counted", sa.BigInteger, nullable=False),
    sa.Column("most", sa.BigInteger, nullable=False),
    sa.Column("hard", sa.Boolean, nullable=False),
    sa.Column("receipt_id", sa.Text, nullable=False),
    sa.Column("return_id", sa.Text),
    sa.Column("operation_id", UUID(as_uuid=True)),
    sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
    sa.Column("store_id", sa.Text, nullable=False),
    sa.Column("terminal_id", sa.Text, nullable=False),
    moment("occurred_at"),
    moment("flagged_at"),
    sa.Column("state", sa.Text, nullable=False, server_default="open"),
    sa.Column("decided_by", sa.Text),
    moment("decided_at", nullable=True),
    sa.Column("reason", sa.Text),
    sa.Column("comment", sa.Text),
    sa.Column("correction_id", UUID(as_uuid=True)),
    sa.Column("spent_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint("state IN ('open', 'approved', 'rejected')", name="state"),
    sa.CheckConstraint("(state = 'open') = (decided_at IS NULL)", name="decided"),
    comment="Purchases and returns beyond a limit, for the staff to look at. `correction_id`: the operation by which "
    "the decision changed what the purchase had earned; `spent_minor`: by how much it changed what counts for the "
    "level.",
)
sa.Index("reviews_receipt_id_idx", reviews.c.receipt_id)
sa.Index("reviews_state_id_idx", reviews.c.state, reviews.c.id)
sa.Index("reviews_customer_id_id_idx", reviews.c.customer_id, reviews.c.id)
sa.Index("reviews_terminal_id_id_idx", reviews.c.terminal_id, reviews.c.id)
sa.Index("reviews_correction_id_idx", reviews.c.correction_id, postgresql_where=sa.text("correction_id IS NOT NULL"))
