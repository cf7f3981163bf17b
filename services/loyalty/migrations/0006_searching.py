"""Purchases are searched by when they were completed, and by whose they are."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("purchases_completed_at_receipt_id_idx", "purchases", ["completed_at", "receipt_id"])
    op.create_index("purchases_customer_id_completed_at_idx", "purchases", ["customer_id", "completed_at"])


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
