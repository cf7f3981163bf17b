"""Customers who are part of another record, and the cards that came with them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TAKEN = "What the survivor took over from a merged record: fields and values as texts."
CAME_WITH = "The merged record that it goes back to if they are parted."


def upgrade() -> None:
    op.add_column("customers", sa.Column("merged_into", UUID(as_uuid=True), nullable=True))
    op.add_column("customers", sa.Column("merged_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("customers", sa.Column("taken", JSONB(), nullable=True, comment=TAKEN))
    op.create_check_constraint(
        op.f("customers_merged_check"),
        "customers",
        "num_nulls(merged_into, merged_at, taken) IN (0, 3) AND merged_into <> id",
    )
    op.create_check_constraint(
        op.f("customers_taken_check"), "customers", "erased_at IS NULL OR coalesce(taken, '{}') = '{}'"
    )
    op.create_index(
        "customers_merged_into_idx", "customers", ["merged_into"], postgresql_where="merged_into IS NOT NULL"
    )
    op.add_column("cards", sa.Column("came_with", UUID(as_uuid=True), nullable=True, comment=CAME_WITH))
    op.create_index("cards_came_with_idx", "cards", ["came_with"], postgresql_where="came_with IS NOT NULL")
    op.create_table_comment(
        "cards",
        "Loyalty cards. A card changes hands only together with the record of its holder.",
        existing_comment="Loyalty cards. A card never changes hands.",
    )


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
