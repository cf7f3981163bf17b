"""Which records are one person."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "merges",
        sa.Column("merged_id", UUID(as_uuid=True), nullable=False),
        sa.Column("survivor_id", UUID(as_uuid=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stands", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("merged_id", "survivor_id", name="merges_pkey"),
        comment="Which records are one person: facts stay with each, and are read together while the merge stands.",
    )
    op.create_index("merges_survivor_id_idx", "merges", ["survivor_id"])


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
