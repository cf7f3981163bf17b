"""Accounts know the scale of their currency, which all of their events name.

A currency that is used keeps its scale, so that any terms that have it say the same.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SCALES = """
UPDATE accounts SET points_scale = used.scale
FROM (
    SELECT DISTINCT currency ->> 'code' AS code, (currency ->> 'scale')::smallint AS scale
    FROM terms CROSS JOIN json_array_elements(rules -> 'points_currencies') AS currency
) AS used
WHERE accounts.points_currency = used.code AND used.scale > 0
"""


def upgrade() -> None:
    op.add_column("accounts", sa.Column("points_scale", sa.SmallInteger(), nullable=False, server_default="0"))
    op.execute(SCALES)


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
