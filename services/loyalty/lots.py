"""Lots: points that came in together. They are spent soonest-expiring first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from chassis.transaction import Transaction

FILLED: Final = """
SELECT operation_id, remaining - held, expires_at, pending FROM lots WHERE account_id = $1 AND remaining > held
ORDER BY expires_at NULLS LAST, operation_id
"""
REMAINING: Final = """
SELECT operation_id, remaining, expires_at, pending FROM lots WHERE account_id = $1 AND remaining > 0
ORDER BY expires_at NULLS LAST, operation_id
"""
TAKEN: Final = """
SELECT lot, (moved.points + COALESCE((
    SELECT sum(back.points) FROM operations AS later JOIN lot_movements AS back
        ON back.account_id = later.account_id AND back.operation_id = later.id AND back.lot = moved.lot
    WHERE later.reverses = $2
), 0))::bigint AS points, lots.expires_at, lots.pending
FROM lot_movements AS moved JOIN lots ON lots.account_id = $3 AND lots.operation_id = lot
WHERE moved.account_id = $1 AND moved.operation_id = $2 AND lot <> $2
ORDER BY lots.expires_at NULLS LAST, lot
"""
RECORD: Final = """
INSERT INTO lot_movements (account_id, operation_id, lot, points)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])
"""
CHANGE: Final = """
UPDATE lots SET remaining = remaining + moved.points, held = lots.held + moved.held
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) AS moved (account_id, lot, points, held)
WHERE lots.account_id = moved.account_id AND lots.operation_id = moved.lot
"""
BRING: Final = """
INSERT INTO lots (account_id, operation_id, amount, remaining, pending, activates_at, expires_at, came_from)
SELECT $2, operation_id, amount, 0, pending, activates_at, expires_at, account_id
FROM lots WHERE account_id = $1 AND operation_id = ANY ($3::uuid[])
ON CONFLICT (account_id, operation_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Lot:
    """A lot that has points left which nobody holds. `source` is the operation that brought them."""

    source: UUID
    free: int
    expires_at: datetime | None
    pending: bool = False


class Movement(NamedTuple):
    """What an operation takes from a lot (negative) or gives back to it; of that, how much of it was held, as a change.

    `pending`: whether the lot's points cannot be spent yet.
    """

    lot: UUID
    points: int
    pending: bool = False
    held: int = 0


async def filled(tx: Transaction, account_id: UUID) -> list[Lot]:
    """The lots that have points left, soonest-expiring first. The account's lock is the lots' lock."""
    return [Lot(*row) for row in await tx.sql(FILLED, account_id)]


async def remaining(tx: Transaction, account_id: UUID) -> list[Lot]:
    """The same as if nobody held any."""
    return [Lot(*row) for row in await tx.sql(REMAINING, account_id)]


class Moved(NamedTuple):
    """What an operation took from a lot and has not gone back to it, and how that lot is now."""

    lot: UUID
    points: int
    """Negative, or zero where all has gone back."""
    expires_at: datetime | None
    pending: bool


async def taken_by(tx: Transaction, account_id: UUID, operation_id: UUID, back_to: UUID) -> list[Moved]:
    """What an operation took from lots, less what has gone back to them, soonest-expiring first.

    It goes `back_to` the account that its own one was merged into meanwhile, which has these lots from now on: their
    time is that of the lots there, which may live on.
    """
    if back_to != account_id:
        before = await tx.sql(TAKEN, account_id, operation_id, account_id)
        await bring(tx, account_id, back_to, [row.lot for row in before])
    return [Moved(*row) for row in await tx.sql(TAKEN, account_id, operation_id, back_to)]


def spendable(lots: Iterable[Lot]) -> list[Lot]:
    """Those that can be spent now."""
    return [lot for lot in lots if not lot.pending]


def take(lots: Sequence[Lot], points: int, *, first: UUID | None = None) -> list[Movement]:
    """Where so many points are taken: from the lot `first`, then as `lots` are ordered; fewer where there are fewer."""
    movements = []
    for lot in sorted(lots, key=lambda each: each.source != first):
        taken = min(points, lot.free)
        if taken > 0:
            movements.append(Movement(lot.source, -taken, lot.pending))
            points -= taken
    return movements


def together(movements: Iterable[Movement]) -> list[Movement]:
    """One movement for each lot."""
    sums: dict[UUID, Movement] = {}
    for each in movements:
        before = sums.get(each.lot)
        sums[each.lot] = each if before is None else each._replace(points=before.points + each.points)
    return list(sums.values())


def without(lots: Iterable[Lot], taken: Iterable[Movement]) -> list[Lot]:
    """What is left of the lots after these movements."""
    by_lot = {each.lot: each.points for each in taken}
    left = [replace(lot, free=lot.free + by_lot.get(lot.source, 0)) for lot in lots]
    return [lot for lot in left if lot.free > 0]


def back_to(taken: Sequence[Moved], nowhere: int, points: int) -> list[Movement]:
    """To which of the lots that an operation took from so many points go.

    The lots that live longest are filled first, none beyond what was taken from it: their order may have changed since
    other points went back. `nowhere`: points that came back to no lot, their time being over or a debt being paid.
    """
    movements = []
    for each in reversed(taken):
        skipped = min(nowhere, -each.points)
        nowhere -= skipped
        given = min(points, -each.points - skipped)
        points -= given
        if given:
            movements.append(Movement(each.lot, given, each.pending))
    return movements


def moved(movements: Iterable[Movement | Moved]) -> int:
    """By how many points the lots change together."""
    return sum(movement.points for movement in movements)


async def move(tx: Transaction, movements: Sequence[tuple[UUID, UUID, Movement]]) -> None:
    """Record and carry out movements of (account, operation)."""
    if not movements:
        return
    await tx.sql(
        RECORD,
        [account for account, _, _ in movements],
        [operation for _, operation, _ in movements],
        [movement.lot for _, _, movement in movements],
        [movement.points for _, _, movement in movements],
    )
    await change(tx, [(account, each.lot, each.points, each.held) for account, _, each in movements])


async def bring(tx: Transaction, from_account: UUID, to_account: UUID, moving: Sequence[UUID]) -> None:
    """The account has lots like those of another one, with their dates, empty where they are new to it."""
    await tx.sql(BRING, from_account, to_account, moving)


async def change(tx: Transaction, changes: Iterable[tuple[UUID, UUID, int, int]]) -> None:
    """Change what is left of lots (account, lot) and what of it is held, by (points, held).

    Each lot once: PostgreSQL applies one change a row and statement.
    """
    sums: dict[tuple[UUID, UUID], tuple[int, int]] = {}
    for account, lot, points, held in changes:
        before_points, before_held = sums.get((account, lot), (0, 0))
        sums[account, lot] = (before_points + points, before_held + held)
    await tx.sql(
        CHANGE,
        [account for account, _ in sums],
        [lot for _, lot in sums],
        [points for points, _ in sums.values()],
        [held for _, held in sums.values()],
    )
