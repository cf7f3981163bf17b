"""Commands of other programs, each carried out once."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "commands",
        sa.Column("command_id", sa.UUID(), nullable=False),
        sa.Column("carried_out_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("command_id", name="commands_pkey"),
        comment="Commands that were carried out: a topic that is read again changes nothing.",
    )


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
