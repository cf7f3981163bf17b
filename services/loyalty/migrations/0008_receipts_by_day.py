"""Receipts are found by their day, to be held against those of the tills."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("purchases_completed_at_idx", "purchases", ["completed_at"], postgresql_using="brin")


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
