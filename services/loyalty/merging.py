"""Merges: two customers were one person. What the one has becomes the other's, by operations of the ledger.

A merge can be undone exactly as long as the survivor has enough points besides those that are to go back: then the
other customer has again what they brought, with its dates, and the survivor pays what was spent of it since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal
from uuid import UUID

import orjson

from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.customers import CustomersMerged, CustomersUnmerged
from contracts.loyalty import PointsMoved
from services.loyalty import families, ledger, lots
from services.loyalty.accounts import Account, account_of_kind, lock_holders, open_accounts
from services.loyalty.balances import say_balances
from services.loyalty.ledger import Operation, of_operation
from services.loyalty.lots import Lot, Movement, moved
from services.loyalty.terms import MAIN, terms_now

KNOWN: Final = "SELECT customer_id, merged_at, unmerged_at, before FROM merges WHERE merged_id = $1"
RECORD: Final = """
INSERT INTO merges (merged_id, customer_id, merged_at, before) VALUES ($1, $2, $3, convert_from($4, 'UTF8')::json)
ON CONFLICT (merged_id) DO UPDATE
SET customer_id = excluded.customer_id, merged_at = excluded.merged_at, unmerged_at = NULL, before = excluded.before
"""
UNDONE: Final = "UPDATE merges SET unmerged_at = $2 WHERE merged_id = $1"
POINT: Final = "UPDATE accounts SET merged_into = $2 WHERE id = $1 OR merged_into = $1 RETURNING id"
POINT_BACK: Final = """
UPDATE accounts SET merged_into = CASE WHEN id = $1 THEN NULL ELSE $1 END WHERE id = ANY ($2::uuid[])
"""
OWN: Final = """
SELECT later.id, later.points, -COALESCE(returns.spent_minor, reviews.spent_minor, 0) AS back_minor
FROM operations AS later JOIN operations AS theirs ON theirs.id = later.reverses AND theirs.account_id = $2
     LEFT JOIN returns ON returns.operation_id = later.id
     LEFT JOIN reviews ON reviews.correction_id = later.id
WHERE later.account_id = $1 AND later.id > $3
"""
"""What was done since on the survivor's account and takes back something of the merged one's, or credits it after all:
it is theirs."""
CHANGED: Final = """
SELECT lot, sum(moved.points)::bigint AS points,
       COALESCE(sum(moved.points) FILTER (WHERE operations.type = 'expiry'), 0)::bigint AS burned
FROM lot_movements AS moved JOIN lots ON lots.account_id = moved.account_id AND lots.operation_id = lot
     JOIN operations ON operations.id = moved.operation_id
WHERE moved.account_id = $1 AND moved.operation_id > $3 AND (came_from = $2 OR lot = ANY ($4::uuid[]))
  AND (operations.type = 'expiry' OR operations.id = ANY ($4::uuid[]))
GROUP BY lot
"""
OPENED: Final = "SELECT operation_id, amount FROM lots WHERE account_id = $1 AND operation_id = ANY ($2::uuid[])"
PENDING: Final = """
SELECT operation_id FROM lots WHERE account_id = $1 AND operation_id = ANY ($2::uuid[]) AND pending
"""
AS_THEY_ARE: Final = """
UPDATE lots SET pending = theirs.pending, activates_at = theirs.activates_at, expires_at = theirs.expires_at
FROM lots AS theirs
WHERE lots.account_id = $1 AND theirs.account_id = $2 AND theirs.operation_id = lots.operation_id
  AND lots.operation_id = ANY ($3::uuid[])
"""


class MergeKept(Exception):
    """The merge cannot be undone; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What an account of the merged customer brought to the survivor's account of the same kind."""

    account_id: UUID
    kind: str
    operation_id: UUID
    lots: Mapping[UUID, int]
    spent_minor: int
    debt: int
    pointing: Sequence[UUID]
    """The accounts that stood for it, itself among them."""


async def merge(tx: Transaction, event: CustomersMerged) -> None:
    """Everything of the merged customer becomes the survivor's; cards of both open the survivor's accounts.

    Points held for purchases of the merged one are given back first. Repeated and older events change nothing. An
    event is refused whose survivor is merged into somebody else.
    """
    terms = await terms_now(tx)
    await open_accounts(tx, [(event.customer_id, MAIN), (event.merged_id, MAIN)], terms)
    survivor_id = await families.holder_of(tx, event.customer_id)
    if survivor_id == event.merged_id or await families.is_merged(tx, event.customer_id):
        tx.refuse(event, "survivor_merged", "customer_id: is part of another customer; merge into that one")
        return
    locked = await lock_holders(tx, [survivor_id, event.merged_id])
    before = next(iter(await tx.sql(KNOWN, event.merged_id)), None)
    if before is not None and event.merged_at <= (before.unmerged_at or before.merged_at):
        return
    survivor, merged = locked[survivor_id], locked[event.merged_id]
    await families.release_holds(tx, [merged])
    brought = []
    for account in merged.accounts.values():
        into = await account_of_kind(tx, survivor, account.kind, terms)
        brought.append(await _bring(tx, event, account, into))
    was = await families.join_for_merge(tx, event.merged_id, survivor_id)
    kept = {"was": was, "brought": [_packed(each) for each in brought]}
    await tx.sql(RECORD, event.merged_id, event.customer_id, event.merged_at, orjson.dumps(kept, default=str))
    say_balances(tx, [survivor.main, merged.main])


async def unmerge(tx: Transaction, event: CustomersUnmerged) -> None:
    """Everything is as it was before the merge; what was earned since is the survivor's.

    Repeated and older events change nothing. An event is refused where the survivor has spent more than their own.
    """
    row = next(iter(await tx.sql(KNOWN, event.merged_id)), None)
    if row is None or row.customer_id != event.customer_id or event.unmerged_at <= (row.unmerged_at or row.merged_at):
        return
    if row.unmerged_at is not None:
        return
    if await families.is_merged(tx, event.customer_id):
        tx.refuse(event, "survivor_merged", "customer_id: is part of another customer by now; undo that merge first")
        return
    survivor_id = await families.holder_of(tx, event.customer_id)
    locked = await lock_holders(tx, [survivor_id, event.merged_id])
    survivor, merged = locked[survivor_id], locked[event.merged_id]
    brought = [_unpacked(each) for each in row.before["brought"]]
    try:
        goings = [await _going_back(tx, survivor.accounts[each.kind], each) for each in brought]
    except MergeKept as why:
        tx.refuse(event, "merge_spent", str(why))
        return
    for each, going in zip(brought, goings, strict=True):
        await _give_back(tx, event, survivor.accounts[each.kind], merged.accounts[each.kind], each, going)
    await families.leave_after_merge(tx, event.merged_id, row.before["was"])
    await tx.sql(UNDONE, event.merged_id, event.unmerged_at)
    say_balances(tx, [survivor.main, merged.main])


@dataclass(frozen=True, slots=True)
class GoingBack:
    """What goes back to an account of the merged customer, and from which lots of the survivor it is taken."""

    lots: Mapping[UUID, int]
    debt: int
    spent_minor: int
    taken: Sequence[Movement]


def what_goes_back(
    brought: Brought, own_points: int, changed: Mapping[UUID, int], opened: Mapping[UUID, int], survivors_debt: int
) -> tuple[dict[UUID, int], int]:
    """The points of each lot that go back, and the debt: what was brought, as what is the merged one's own changed it.

    `own_points`: by how much the account changed by what burned of theirs and what took back something of theirs;
    `changed`: by how much their lots did; `opened`: lots that came of it. What was taken from the survivor's other lots
    goes off what is due, soonest-expiring first.
    """
    lots_due = {
        lot: max(0, brought.lots.get(lot, 0) + opened.get(lot, 0) + changed.get(lot, 0))
        for lot in {**brought.lots, **opened, **changed}
    }
    balance = sum(brought.lots.values()) - brought.debt + own_points
    debt = min(max(brought.debt, -balance), survivors_debt)
    over = sum(lots_due.values()) - max(0, balance + debt)
    for lot, points in lots_due.items():
        less = min(points, max(0, over))
        lots_due[lot] -= less
        over -= less
    return {lot: points for lot, points in lots_due.items() if points}, debt


async def _bring(tx: Transaction, event: CustomersMerged, account: Account, into: Account) -> Brought:
    """Move everything of the locked account into the other one, each lot with its dates."""
    filled = [lot for lot in await lots.filled(tx, account.id) if lot.free]
    moving = {lot.source: lot.free for lot in filled}
    brought = Brought(account.id, account.kind, new_id(), moving, account.spent_minor, account.debt, [])
    leaving = Operation(
        id=brought.operation_id,
        type="merge",
        account=account,
        points=-account.balance,
        occurred_at=event.merged_at,
        spent_minor=-account.spent_minor,
        movements=[Movement(lot.source, -lot.free, lot.pending) for lot in filled],
        debt=-account.debt,
    )
    coming = Operation(
        id=new_id(),
        type="merge",
        account=into,
        points=account.balance,
        occurred_at=event.merged_at,
        spent_minor=account.spent_minor,
        movements=[Movement(lot.source, lot.free, lot.pending) for lot in filled],
        debt=account.debt,
    )
    await lots.bring(tx, account.id, into.id, list(moving))
    await tx.sql(AS_THEY_ARE, into.id, account.id, list(moving))
    await _post(tx, leaving, coming, "merge")
    pointing = [row.id for row in await tx.sql(POINT, account.id, into.id)]
    return replace(brought, pointing=pointing)


async def _going_back(tx: Transaction, account: Account, brought: Brought) -> GoingBack:
    """Raises `MergeKept` where too few points are left on the survivor's account."""
    since = (account.id, brought.account_id, brought.operation_id)
    own = await tx.sql(OWN, *since)
    ids = [row.id for row in own]
    rows = await tx.sql(CHANGED, *since, ids)
    changed = {row.lot: row.points for row in rows}
    own_points = sum(row.points for row in own) + sum(row.burned for row in rows)
    opened = {row.operation_id: row.amount for row in await tx.sql(OPENED, account.id, ids)}
    due, debt = what_goes_back(brought, own_points, changed, opened, account.debt)
    filled = await lots.filled(tx, account.id)
    theirs = [_part(lot, due.get(lot.source, 0)) for lot in filled]
    taken = [Movement(lot.source, -lot.free, lot.pending) for lot in theirs if lot.free]
    missing = sum(due.values()) + moved(taken)
    others = lots.without(filled, taken)
    paid = lots.take([*lots.spendable(others), *(lot for lot in others if lot.pending)], missing)
    if -moved(paid) < missing:
        raise MergeKept(
            f"merged_id: the survivor has spent {missing + moved(paid)} points more than their own; "
            "give them so many by hand and replay"
        )
    spent_minor = brought.spent_minor - sum(row.back_minor for row in own)
    return GoingBack(due, debt, spent_minor, lots.together([*taken, *paid]))


def _part(lot: Lot, points: int) -> Lot:
    return replace(lot, free=min(lot.free, points))


async def _give_back(
    tx: Transaction, event: CustomersUnmerged, account: Account, to: Account, brought: Brought, going: GoingBack
) -> None:
    points = sum(going.lots.values()) - going.debt
    moving = list(going.lots)
    await lots.bring(tx, account.id, to.id, moving)
    await tx.sql(AS_THEY_ARE, to.id, account.id, moving)
    pending = {row.operation_id for row in await tx.sql(PENDING, to.id, moving)}
    leaving = Operation(
        id=new_id(),
        type="unmerge",
        account=account,
        points=-points,
        occurred_at=event.unmerged_at,
        spent_minor=-going.spent_minor,
        movements=going.taken,
        debt=-going.debt,
    )
    coming = Operation(
        id=new_id(),
        type="unmerge",
        account=to,
        points=points,
        occurred_at=event.unmerged_at,
        spent_minor=going.spent_minor,
        movements=[Movement(lot, part, lot in pending) for lot, part in going.lots.items()],
        debt=going.debt,
    )
    await _post(tx, leaving, coming, "unmerge")
    await tx.sql(POINT_BACK, to.id, list(brought.pointing))


async def _post(tx: Transaction, leaving: Operation, coming: Operation, cause: Literal["merge", "unmerge"]) -> None:
    ledger.enter([leaving, coming])
    await ledger.post(tx, [leaving, coming])
    for operation, other in ((leaving, coming), (coming, leaving)):
        tx.say(
            PointsMoved(
                **of_operation(operation),
                points=operation.points,
                other_account_id=other.account.id,
                other_customer_id=other.account.customer_id,
                cause=cause,
                moved_at=operation.occurred_at,
            )
        )


def _packed(brought: Brought) -> dict[str, Any]:
    return {**asdict(brought), "lots": [[lot, points] for lot, points in brought.lots.items()]}


def _unpacked(kept: Mapping[str, Any]) -> Brought:
    return Brought(
        UUID(kept["account_id"]),
        kept["kind"],
        UUID(kept["operation_id"]),
        {UUID(lot): points for lot, points in kept["lots"]},
        kept["spent_minor"],
        kept["debt"],
        [UUID(each) for each in kept["pointing"]],
    )
