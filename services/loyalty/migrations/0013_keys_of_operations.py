"""Operations by hand keep the idempotency key of the request or command that asked for them.

Those of before have none: the answers that are kept by key say nothing of operations.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operation_notes", sa.Column("idempotency_key", sa.Text(), nullable=True))
    op.create_table_comment(
        "operation_notes",
        "Who made an operation by hand, and why. `comment` is for the staff alone; `idempotency_key`: of the request, "
        "or the command's id.",
    )


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
