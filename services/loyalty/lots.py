"""Lots: points that came in together. They are spent soonest-expiring first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from chassis.transaction import Transaction

FILLED: Final = """
SELECT operation_id, remaining, expires_at FROM lots WHERE account_id = $1 AND remaining > 0
ORDER BY expires_at NULLS LAST, operation_id
"""
MOVED: Final = "SELECT lot, points FROM lot_movements WHERE account_id = $1 AND operation_id = $2 ORDER BY lot"
RECORD: Final = """
INSERT INTO lot_movements (account_id, operation_id, lot, points)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])
"""
MOVE: Final = """
UPDATE lots SET remaining = remaining + moved.points
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS moved (account_id, lot, points)
WHERE lots.account_id = moved.account_id AND lots.operation_id = moved.lot
"""


@dataclass(frozen=True, slots=True)
class Lot:
    """A lot that has points left. `source` is the operation that brought them."""

    source: UUID
    remaining: int
    expires_at: datetime | None


class Movement(NamedTuple):
    """What an operation takes from a lot (negative) or gives back to it."""

    lot: UUID
    points: int


async def filled(tx: Transaction, account_id: UUID) -> list[Lot]:
    """The lots that have points left, soonest-expiring first. The account's lock is the lots' lock."""
    return [Lot(*row) for row in await tx.sql(FILLED, account_id)]


async def movements_of(tx: Transaction, account_id: UUID, operation_id: UUID) -> list[Movement]:
    """What an operation took from lots and gave back."""
    return [Movement(*row) for row in await tx.sql(MOVED, account_id, operation_id)]


def take(lots: Sequence[Lot], points: int, *, first: UUID | None = None) -> list[Movement]:
    """Where so many points are taken: from the lot `first`, then as `lots` are ordered; fewer where there are fewer."""
    movements = []
    for lot in sorted(lots, key=lambda each: each.source != first):
        taken = min(points, lot.remaining)
        if taken > 0:
            movements.append(Movement(lot.source, -taken))
            points -= taken
    return movements


def moved(movements: Sequence[Movement]) -> int:
    """By how many points the lots change together."""
    return sum(movement.points for movement in movements)


async def move(tx: Transaction, movements: Sequence[tuple[UUID, UUID, Movement]]) -> None:
    """Record and carry out movements of (account, operation); a lot moves at most once a call."""
    if not movements:
        return
    accounts = [account for account, _, _ in movements]
    moved_lots = [movement.lot for _, _, movement in movements]
    points = [movement.points for _, _, movement in movements]
    await tx.sql(RECORD, accounts, [operation for _, operation, _ in movements], moved_lots, points)
    await tx.sql(MOVE, accounts, moved_lots, points)
