"""Frozen accounts, and purchases that earned nothing because of them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "terms", sa.Column("lots_age_while_frozen", sa.Boolean(), server_default=sa.text("true"), nullable=False)
    )
    op.add_column("accounts", sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("accounts", sa.Column("frozen_because", sa.Text(), nullable=True))
    op.add_column("accounts", sa.Column("freeze_changed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint("frozen", "accounts", "(frozen_at IS NULL) = (frozen_because IS NULL)")
    op.add_column("purchases", sa.Column("withheld", sa.Text(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
