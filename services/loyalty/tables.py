"""Loyalty's tables. No foreign keys between the append-only ones: `reconciliation.py` proves what they would."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB, UUID

from chassis.tables import moment, service_metadata

metadata = service_metadata()

terms = sa.Table(
    "terms",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    moment("in_force_from"),
    sa.Column("set_by", sa.Text, nullable=False),
    moment("set_at"),
    sa.Column("points_currency", sa.Text, nullable=False),
    sa.Column("point_worth_minor", sa.BigInteger, nullable=False),
    sa.Column("currencies", ARRAY(sa.Text), nullable=False),
    sa.Column("levels", JSONB, nullable=False),
    sa.Column("lot_life_days", sa.Integer),
    sa.Column("lots_age_while_frozen", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("returned_but_spent", sa.Text, nullable=False, server_default="other_lots"),
    sa.CheckConstraint("point_worth_minor > 0", name="worth"),
    sa.CheckConstraint("returned_but_spent IN ('other_lots', 'write_off')", name="returned_but_spent"),
    comment="What the programme promises, one row a change; a purchase is priced by the terms of its own time.",
)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
    sa.Column("points_currency", sa.Text, nullable=False),
    sa.Column("balance", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("spent_minor", sa.BigInteger, nullable=False, server_default="0"),
    moment("opened_at"),
    moment("frozen_at", nullable=True),
    sa.Column("frozen_because", sa.Text),
    moment("freeze_changed_at", nullable=True),
    sa.UniqueConstraint("customer_id", "points_currency"),
    sa.CheckConstraint("balance >= 0", name="balance"),
    sa.CheckConstraint("(frozen_at IS NULL) = (frozen_because IS NULL)", name="frozen"),
    comment="One customer's points. `balance` is the sum of the entries; `spent_minor` decides the level.",
)

identifiers = sa.Table(
    "identifiers",
    metadata,
    sa.Column("identifier", sa.Text, primary_key=True),
    sa.Column("customer_id", UUID(as_uuid=True)),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("usable", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.CheckConstraint("kind IN ('card', 'phone', 'customer')", name="kind"),
    comment="Which customer a card, a phone or a customer id of a purchase names; nobody's while one waits for it.",
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
    sa.Column("store_id", sa.Text),
    sa.Column("terminal_id", sa.Text),
    moment("completed_at", nullable=True),
    sa.Column("currency", sa.Text),
    sa.Column("total_minor", sa.BigInteger),
    sa.Column("points", sa.BigInteger),
    sa.Column("level", sa.Text),
    sa.Column("withheld", sa.Text),
    sa.Column("content_hash", sa.BigInteger),
    sa.Column("lines", JSON),
    sa.CheckConstraint("state IN ('awaited', 'completed', 'partly_returned', 'returned', 'cancelled')", name="state"),
    comment="One row a receipt; 'awaited' where its return came first. `lines` as in purchases.py.",
)
sa.Index("purchases_completed_at_receipt_id_idx", purchases.c.completed_at, purchases.c.receipt_id)
sa.Index("purchases_customer_id_completed_at_idx", purchases.c.customer_id, purchases.c.completed_at)

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
    sa.Column("content_hash", sa.BigInteger, nullable=False),
    sa.Column("lines", JSON, nullable=False),
    comment="What came back of a purchase, one row a return or cancellation.",
)
sa.Index("returns_receipt_id_idx", returns.c.receipt_id)

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
    sa.CheckConstraint("type IN ('purchase', 'return', 'cancellation', 'manual', 'reversal', 'expiry')", name="type"),
    comment="The ledger's operations, append-only; `points` as it changed the account.",
)
sa.Index(
    "operations_reversal_key",
    operations.c.reverses,
    unique=True,
    postgresql_where=sa.text("type = 'reversal'"),
)

operation_notes = sa.Table(
    "operation_notes",
    metadata,
    sa.Column("operation_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("comment", sa.Text),
    comment="Who made an operation by hand, and why. `comment` is for the staff alone.",
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
    moment("expires_at", nullable=True),
    sa.CheckConstraint("remaining BETWEEN 0 AND amount", name="remaining"),
    comment="Points that came in together and burn together; the operation is their source.",
)
sa.Index("lots_expires_at_idx", lots.c.expires_at, postgresql_where=sa.text("remaining > 0"))

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
