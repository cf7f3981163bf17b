"""Who did what to a till is kept; of the time before only what its row still says, so not in which stores it stood."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

OF_BEFORE = """
INSERT INTO terminal_changes (id, terminal_id, what, at, actor)
SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '700' || place || '8' ||
        left(md5(terminal_id), 15))::uuid,
       terminal_id, what, at, actor
FROM terminals, LATERAL (
    VALUES (1, 'registered', registered_at, registered_by),
           (2, 'key_set', key_set_at, key_set_by),
           (3, 'blocked', blocked_at, blocked_by)
) AS known (place, what, at, actor)
WHERE at IS NOT NULL
"""
"""The ids are UUIDv7 of those moments: the history is in their order."""


def upgrade() -> None:
    op.create_table(
        "terminal_changes",
        sa.Column("id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("terminal_id", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("store_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "what IN ('registered', 'moved', 'key_set', 'blocked', 'unblocked')",
            name=op.f("terminal_changes_what_check"),
        ),
        sa.CheckConstraint(
            "store_id IS NULL OR what IN ('registered', 'moved')", name=op.f("terminal_changes_store_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("terminal_changes_pkey")),
        comment="Who did what to a till, append-only. `store_id`: where it stands from then on.",
    )
    op.create_index("terminal_changes_terminal_id_id_idx", "terminal_changes", ["terminal_id", "id"])
    op.execute(sa.text(OF_BEFORE))


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
