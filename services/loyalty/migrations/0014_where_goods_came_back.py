"""Returns know in which store the goods came back; of those of before it is not known."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("returns", sa.Column("store_id", sa.Text(), nullable=True))
    op.create_table_comment(
        "returns",
        "What came back of a purchase, one row a return or cancellation. `customer_id`: who had bought; `store_id`, "
        "`terminal_id`: where it came back; `spent_minor`: by how much it changed what counts for the level.",
    )


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
