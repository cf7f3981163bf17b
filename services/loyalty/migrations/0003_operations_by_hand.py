"""Operations by hand, their reversals, and from which lots points were taken."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOVEMENTS_SO_FAR = """
INSERT INTO lot_movements (account_id, operation_id, lot, points)
SELECT account_id, id, reverses, points FROM operations WHERE points < 0
"""


def upgrade() -> None:
    op.add_column("terms", sa.Column("returned_but_spent", sa.Text(), server_default="other_lots", nullable=False))
    op.create_check_constraint("returned_but_spent", "terms", "returned_but_spent IN ('other_lots', 'write_off')")
    op.add_column("returns", sa.Column("written_off", sa.BigInteger(), server_default="0", nullable=False))
    _operations()
    _lot_movements()


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")


def _operations() -> None:
    op.alter_column("operations", "receipt_id", nullable=True)
    op.drop_constraint(op.f("operations_operations_type_check_check"), "operations")
    op.create_check_constraint(
        "type", "operations", "type IN ('purchase', 'return', 'cancellation', 'manual', 'reversal')"
    )
    op.create_index(
        "operations_reversal_key",
        "operations",
        ["reverses"],
        unique=True,
        postgresql_where=sa.text("type = 'reversal'"),
    )
    op.create_table(
        "operation_notes",
        sa.Column("operation_id", sa.UUID(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("operation_id", name="operation_notes_pkey"),
        comment="Who made an operation by hand, and why. `comment` is for the staff alone.",
    )


def _lot_movements() -> None:
    op.create_table(
        "lot_movements",
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("operation_id", sa.UUID(), nullable=False),
        sa.Column("lot", sa.UUID(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points <> 0", name="points"),
        sa.PrimaryKeyConstraint("account_id", "operation_id", "lot", name="lot_movements_pkey"),
        comment="What an operation took from a lot (negative) or gave back to it. `lot`: its source's operation.",
    )
    op.execute(MOVEMENTS_SO_FAR)
