"""A lot may have more left on one account than came in with it.

A merge that is undone gives it back whole, paid from other lots; what the survivor had spent of it and gets back from a
return is in it once more, and a later merge brings both parts together.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint(op.f("lots_remaining_check"), "lots")
    op.create_check_constraint(op.f("lots_remaining_check"), "lots", "remaining >= held AND held >= 0")


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
