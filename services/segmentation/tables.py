"""What segmentation keeps. Points to a customer by id alone; names and phones never come here.

No foreign keys: a row of `features` is locked before anything else of its customer is written, and erasure deletes
the rest under that lock.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

from chassis.tables import moment, service_metadata

metadata = service_metadata()

ROOM_TO_UPDATE = {"fillfactor": "80"}
"""Totals are updated all the time: with room on the page the indexes stay as they are (HOT)."""


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default="0")


def _minor(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


features = sa.Table(
    "features",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    _count("purchases"),
    _count("returns"),
    _count("cancellations"),
    moment("first_purchase_at", nullable=True),
    moment("last_purchase_at", nullable=True),
    moment("changed_at"),
    moment("erased_at", nullable=True),
    comment="One row a customer. Purchases that were cancelled or came back whole are not counted. "
    "Of an erased customer only the id is left, so that nothing that comes late builds it again.",
    postgresql_with=ROOM_TO_UPDATE,
)

purchases = sa.Table(
    "purchases",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("receipt_id", sa.Text, primary_key=True),
    sa.Column("operation_id", UUID(as_uuid=True), nullable=False),
    sa.Column("store_id", sa.Text, nullable=False),
    moment("completed_at"),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("total_minor", sa.BigInteger, nullable=False),
    _minor("returned_minor"),
    sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("rejected", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column(
        "counts",
        sa.Boolean,
        sa.Computed(
            "NOT cancelled AND NOT rejected AND (total_minor = 0 OR returned_minor < total_minor)", persisted=True
        ),
        nullable=False,
    ),
    comment="Each receipt once a customer, however many ledger operations it led to. `counts` is whether anything "
    "of it is left.",
)
sa.Index("purchases_completed_at_idx", purchases.c.completed_at, postgresql_using="brin")

returns = sa.Table(
    "returns",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("return_id", sa.Text, primary_key=True),
    sa.Column("cause", sa.Text, primary_key=True),
    sa.Column("operation_id", UUID(as_uuid=True), nullable=False),
    sa.Column("receipt_id", sa.Text, nullable=False),
    moment("returned_at"),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("total_minor", sa.BigInteger, nullable=False),
    sa.Column("categories", JSONB, nullable=False, server_default="{}"),
    sa.CheckConstraint("cause IN ('return', 'cancellation')", name="cause"),
    comment="Each return and cancellation once. One that came before its purchase is taken off when that comes. "
    "`categories`: money given back by product category.",
)

rejections = sa.Table(
    "rejections",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("receipt_id", sa.Text, primary_key=True),
    sa.Column("review_id", UUID(as_uuid=True), nullable=False),
    moment("decided_at"),
    comment="Receipts that were rejected in a review: neither they nor what comes back of them counts. One may be "
    "rejected before it is heard of.",
)

merges = sa.Table(
    "merges",
    metadata,
    sa.Column("merged_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("survivor_id", UUID(as_uuid=True), primary_key=True),
    moment("changed_at"),
    sa.Column("stands", sa.Boolean, nullable=False),
    comment="Which records are one person: facts stay with each, and are read together while the merge stands.",
)
sa.Index("merges_survivor_id_idx", merges.c.survivor_id)

spending = sa.Table(
    "spending",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("currency", sa.Text, primary_key=True),
    _count("purchases"),
    _minor("paid_minor"),
    _minor("returned_minor"),
    comment="A customer's money by currency. There is no rate between currencies here, and so no sum over them.",
    postgresql_with=ROOM_TO_UPDATE,
)

store_spending = sa.Table(
    "store_spending",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("currency", sa.Text, primary_key=True),
    sa.Column("store_id", sa.Text, primary_key=True),
    _count("purchases"),
    _minor("total_minor"),
    comment="Paid less what came back, by the store of the purchase, wherever it was brought back.",
    postgresql_with=ROOM_TO_UPDATE,
)

category_spending = sa.Table(
    "category_spending",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("currency", sa.Text, primary_key=True),
    sa.Column("category", sa.Text, primary_key=True),
    _minor("total_minor"),
    comment="Paid less what came back, by product category.",
    postgresql_with=ROOM_TO_UPDATE,
)


def _score(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger)


rfm = sa.Table(
    "rfm",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    _score("recency"),
    _score("frequency"),
    _score("monetary"),
    sa.Column("segment", sa.Text),
    moment("scored_at"),
    sa.Column("said_segment", sa.Text),
    moment("moved_at", nullable=True),
    comment="Written by the recomputation alone. No scores: bought nothing within the window. `said_segment` is the "
    "one that the last RfmMoved named; a row where it is another one is still to be said.",
    postgresql_with=ROOM_TO_UPDATE,
)
sa.Index("rfm_segment_customer_id_idx", rfm.c.segment, rfm.c.customer_id)
sa.Index("rfm_unsaid_idx", rfm.c.customer_id, postgresql_where=sa.text("segment IS DISTINCT FROM said_segment"))

rfm_moves = sa.Table(
    "rfm_moves",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    _score("recency"),
    _score("frequency"),
    _score("monetary"),
    moment("moved_at"),
    comment="What was said: who moved to which segment, and when.",
)
sa.Index("rfm_moves_customer_id_id_idx", rfm_moves.c.customer_id, rfm_moves.c.id)

rfm_cells = sa.Table(
    "rfm_cells",
    metadata,
    sa.Column("recency", sa.SmallInteger, primary_key=True),
    sa.Column("frequency", sa.SmallInteger, primary_key=True),
    sa.Column("segment", sa.Text, nullable=False),
    sa.Column("customers", sa.Integer, nullable=False),
    sa.Column("purchases", sa.BigInteger, nullable=False),
    sa.Column("spent", JSONB, nullable=False),
    sa.Column("window_days", sa.Integer, nullable=False),
    moment("scored_at"),
    comment="The 25 cells of the last recomputation: customers, their purchases and money (by currency) within it.",
)

rfm_windows = sa.Table(
    "rfm_windows",
    metadata,
    sa.Column("since", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("days", sa.Integer, nullable=False),
    sa.CheckConstraint("days BETWEEN 1 AND 3650", name="days"),
    comment="How many days of purchases RFM looks at, with history; the default is in `window.py`.",
)
