"""The features of customers and their RFM segments."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

from chassis.migrations import create_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = UUID(as_uuid=True)
ROOM_TO_UPDATE = {"fillfactor": "80"}


def upgrade() -> None:
    create_chassis_tables(op.get_bind())
    _features()
    _facts()
    _totals()
    _rfm()


def _features() -> None:
    op.create_table(
        "features",
        sa.Column("customer_id", ID, nullable=False),
        _count("purchases"),
        _count("returns"),
        _count("cancellations"),
        _moment("first_purchase_at", nullable=True),
        _moment("last_purchase_at", nullable=True),
        _moment("changed_at"),
        _moment("erased_at", nullable=True),
        sa.PrimaryKeyConstraint("customer_id", name="features_pkey"),
        comment="One row a customer. Purchases that were cancelled or came back whole are not counted. "
        "Of an erased customer only the id is left, so that nothing that comes late builds it again.",
        postgresql_with=ROOM_TO_UPDATE,
    )


def _facts() -> None:
    op.create_table(
        "purchases",
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("receipt_id", sa.Text, nullable=False),
        sa.Column("operation_id", ID, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        _moment("completed_at"),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("total_minor", sa.BigInteger, nullable=False),
        _minor("returned_minor"),
        sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column(
            "counts",
            sa.Boolean,
            sa.Computed("NOT cancelled AND (total_minor = 0 OR returned_minor < total_minor)", persisted=True),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("customer_id", "receipt_id", name="purchases_pkey"),
        comment="Each receipt once a customer, however many ledger operations it led to. `counts` is whether "
        "anything of it is left.",
    )
    op.create_index("purchases_completed_at_idx", "purchases", ["completed_at"], postgresql_using="brin")
    op.create_table(
        "returns",
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("return_id", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("operation_id", ID, nullable=False),
        sa.Column("receipt_id", sa.Text, nullable=False),
        _moment("returned_at"),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("total_minor", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "return_id", "cause", name="returns_pkey"),
        sa.CheckConstraint("cause IN ('return', 'cancellation')", name=op.f("returns_cause_check")),
        comment="Each return and cancellation once. One that came before its purchase is taken off when that comes.",
    )


def _totals() -> None:
    op.create_table(
        "spending",
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        _count("purchases"),
        _minor("paid_minor"),
        _minor("returned_minor"),
        sa.PrimaryKeyConstraint("customer_id", "currency", name="spending_pkey"),
        comment="A customer's money by currency. There is no rate between currencies here, and so no sum over them.",
        postgresql_with=ROOM_TO_UPDATE,
    )
    op.create_table(
        "store_spending",
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        _count("purchases"),
        _minor("total_minor"),
        sa.PrimaryKeyConstraint("customer_id", "currency", "store_id", name="store_spending_pkey"),
        comment="Paid less what came back, by the store of the purchase, wherever it was brought back.",
        postgresql_with=ROOM_TO_UPDATE,
    )
    op.create_table(
        "category_spending",
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        _minor("total_minor"),
        sa.PrimaryKeyConstraint("customer_id", "currency", "category", name="category_spending_pkey"),
        comment="Paid less what came back, by product category.",
        postgresql_with=ROOM_TO_UPDATE,
    )


def _rfm() -> None:
    op.create_table(
        "rfm",
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("recency", sa.SmallInteger),
        sa.Column("frequency", sa.SmallInteger),
        sa.Column("monetary", sa.SmallInteger),
        sa.Column("segment", sa.Text),
        _moment("scored_at"),
        sa.Column("said_segment", sa.Text),
        _moment("moved_at", nullable=True),
        sa.PrimaryKeyConstraint("customer_id", name="rfm_pkey"),
        comment="Written by the recomputation alone. No scores: bought nothing within the window. `said_segment` is "
        "the one that the last RfmMoved named; a row where it is another one is still to be said.",
        postgresql_with=ROOM_TO_UPDATE,
    )
    op.create_index("rfm_segment_customer_id_idx", "rfm", ["segment", "customer_id"])
    op.create_index(
        "rfm_unsaid_idx", "rfm", ["customer_id"], postgresql_where=sa.text("segment IS DISTINCT FROM said_segment")
    )
    op.create_table(
        "rfm_moves",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("recency", sa.SmallInteger),
        sa.Column("frequency", sa.SmallInteger),
        sa.Column("monetary", sa.SmallInteger),
        _moment("moved_at"),
        sa.PrimaryKeyConstraint("id", name="rfm_moves_pkey"),
        comment="What was said: who moved to which segment, and when.",
    )
    op.create_index("rfm_moves_customer_id_id_idx", "rfm_moves", ["customer_id", "id"])
    op.create_table(
        "rfm_cells",
        sa.Column("recency", sa.SmallInteger, nullable=False),
        sa.Column("frequency", sa.SmallInteger, nullable=False),
        sa.Column("segment", sa.Text, nullable=False),
        sa.Column("customers", sa.Integer, nullable=False),
        sa.Column("purchases", sa.BigInteger, nullable=False),
        sa.Column("spent", JSONB, nullable=False),
        sa.Column("window_days", sa.Integer, nullable=False),
        _moment("scored_at"),
        sa.PrimaryKeyConstraint("recency", "frequency", name="rfm_cells_pkey"),
        comment="The 25 cells of the last recomputation: customers, their purchases and money (by currency) within it.",
    )
    op.create_table(
        "rfm_windows",
        _moment("since"),
        sa.Column("days", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("since", name="rfm_windows_pkey"),
        sa.CheckConstraint("days BETWEEN 1 AND 3650", name=op.f("rfm_windows_days_check")),
        comment="How many days of purchases RFM looks at, with history; the default is in `window.py`.",
    )


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default="0")


def _minor(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
