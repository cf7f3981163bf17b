"""When terms were set, beside who set them and from when they hold."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("terms", sa.Column("set_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE terms SET set_at = in_force_from")
    op.alter_column("terms", "set_at", nullable=False)


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
