"""The ledger's first tables, and the first terms."""

import sqlalchemy as sa
from alembic import op

from chassis.migrations import create_chassis_tables
from services.loyalty.tables import STORAGE, metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FIRST_TERMS = """
INSERT INTO terms (id, in_force_from, set_by, points_currency, point_worth_minor, currencies, levels, lot_life_days)
VALUES ('00000000-0000-7000-8000-000000000001', '2000-01-01T00:00:00Z', 'migration', 'points', 100,
        '{RUB,USD,EUR,BYN,KZT}',
        '[{"code": "base", "spent_minor_from": 0, "rate_basis_points": 500},
          {"code": "silver", "spent_minor_from": 5000000, "rate_basis_points": 600},
          {"code": "gold", "spent_minor_from": 15000000, "rate_basis_points": 700}]',
        365)
"""


def upgrade() -> None:
    create_chassis_tables(op.get_bind())
    own = [metadata.tables[name] for name in OWN]
    metadata.create_all(op.get_bind(), tables=own)
    for statement in STORAGE:
        op.execute(statement)
    op.execute(sa.text(FIRST_TERMS.replace(":", r"\:")))


OWN = ["terms", "accounts", "identifiers", "purchases", "returns", "operations", "entries", "lots"]


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
