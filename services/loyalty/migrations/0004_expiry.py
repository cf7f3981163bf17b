"""Points burn at the end of their lot."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TYPES = "type IN ('purchase', 'return', 'cancellation', 'manual', 'reversal', 'expiry')"


def upgrade() -> None:
    op.drop_constraint(op.f("operations_type_check"), "operations")
    op.create_check_constraint("type", "operations", TYPES)
    op.create_index("lots_expires_at_idx", "lots", ["expires_at"], postgresql_where=sa.text("remaining > 0"))


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
