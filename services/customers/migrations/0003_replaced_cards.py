"""Cards that another one took the place of."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cards", sa.Column("replaced_by", sa.Text(), nullable=True))
    op.create_check_constraint("replaced_by", "cards", "replaced_by IS NULL OR state = 'blocked'")


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
