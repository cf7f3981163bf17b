"""Purchases that were rejected in a review no longer count; returns keep what came back by category.

Of the returns of before the categories are not known.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rejections",
        sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
        sa.Column("receipt_id", sa.Text, nullable=False),
        sa.Column("review_id", UUID(as_uuid=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "receipt_id", name="rejections_pkey"),
        comment="Receipts that were rejected in a review: neither they nor what comes back of them counts. One may be "
        "rejected before it is heard of.",
    )
    op.add_column("purchases", sa.Column("rejected", sa.Boolean, nullable=False, server_default=sa.false()))
    op.drop_column("purchases", "counts")
    counts = "NOT cancelled AND NOT rejected AND (total_minor = 0 OR returned_minor < total_minor)"
    op.add_column("purchases", sa.Column("counts", sa.Boolean, sa.Computed(counts, persisted=True), nullable=False))
    op.add_column("returns", sa.Column("categories", JSONB, nullable=False, server_default="{}"))
    op.create_table_comment(
        "returns",
        "Each return and cancellation once. One that came before its purchase is taken off when that comes. "
        "`categories`: money given back by product category.",
    )


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
