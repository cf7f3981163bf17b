"""The tills that speak HTTP, each with a key of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "terminals",
        sa.Column("terminal_id", sa.Text(), nullable=False),
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=True),
        sa.Column("key_set_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("key_set_by", sa.Text(), nullable=True),
        sa.Column("blocked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blocked_by", sa.Text(), nullable=True),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("registered_by", sa.Text(), nullable=False),
        sa.CheckConstraint("(key_hash IS NULL) = (key_set_at IS NULL)", name=op.f("terminals_key_check")),
        sa.CheckConstraint("(blocked_at IS NULL) = (blocked_by IS NULL)", name=op.f("terminals_blocked_check")),
        sa.PrimaryKeyConstraint("terminal_id", name=op.f("terminals_pkey")),
        comment="The tills that speak HTTP. `key_hash`: SHA-256 of the secret, which is kept nowhere.",
    )


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
