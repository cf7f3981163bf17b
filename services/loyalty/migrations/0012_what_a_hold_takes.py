"""A hold knows by which coefficient its points were worth what they were, and what a capture of it found no more.

Holds of before get their account's coefficient of today: those that stand are minutes old.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COEFFICIENTS = """
UPDATE holds SET redemption_coefficient = accounts.redemption_coefficient FROM accounts
WHERE accounts.id = holds.account_id
"""


def upgrade() -> None:
    op.add_column("holds", sa.Column("redemption_coefficient", sa.Integer(), server_default="10000", nullable=False))
    op.add_column("holds", sa.Column("missing", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(sa.text(COEFFICIENTS))
    op.create_table_comment(
        "holds",
        "Points reserved for a receipt. The account's lock is the lock of its holds. `redemption_coefficient`: the "
        "account's when they were held; `missing`: what a capture found no more.",
    )


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
