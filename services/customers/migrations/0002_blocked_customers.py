"""Customers who are blocked."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("customers", sa.Column("blocked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("customers", sa.Column("block_reason", sa.Text(), nullable=True))
    op.create_check_constraint("blocked", "customers", "(blocked_at IS NULL) = (block_reason IS NULL)")


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
