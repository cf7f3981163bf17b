"""Messages that wait for the morning of their customer."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("due_at", sa.DateTime(timezone=True)))
    op.drop_constraint(op.f("messages_status_check"), "messages")
    op.create_check_constraint(
        op.f("messages_status_check"),
        "messages",
        "status IN ('accepted', 'scheduled', 'sending', 'sent', 'failed', 'unknown', 'expired')",
    )
    op.drop_constraint(op.f("messages_sendable_check"), "messages")
    op.create_check_constraint(
        op.f("messages_sendable_check"),
        "messages",
        "status NOT IN ('accepted', 'scheduled') OR (text IS NOT NULL AND channel IS NOT NULL)",
    )
    op.create_check_constraint(op.f("messages_due_check"), "messages", "status <> 'scheduled' OR due_at IS NOT NULL")
    op.create_index("messages_due_at_idx", "messages", ["due_at"], postgresql_where=sa.text("status = 'scheduled'"))


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
