"""Undoing a merge looks for returns by their operation: without an index it would read all returns of the chain."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("returns_operation_id_idx", "returns", ["operation_id"])


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
