"""Purchases are searched by when they were completed, or else quoted, and by whose they are."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    at = sa.Computed("COALESCE(completed_at, quoted_at)", persisted=True)
    op.add_column("purchases", sa.Column("at", sa.DateTime(timezone=True), at, nullable=True))
    op.create_index("purchases_at_receipt_id_idx", "purchases", ["at", "receipt_id"])
    op.create_index("purchases_customer_id_at_idx", "purchases", ["customer_id", "at"])


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
