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
from services.loyalty.accounts import Account, Holder, account_of_kind, lock_accounts, lock_holders, open_accounts
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
PARTS: Final = """
SELECT part.customer_id FROM accounts JOIN accounts AS part ON part.merged_into = accounts.id
WHERE accounts.customer_id = $1 ORDER BY 1
"""
OWNERS: Final = "SELECT DISTINCT customer_id FROM accounts WHERE id = ANY ($1::uuid[])"
POINT_BACK: Final = """
UPDATE accounts SET merged_into = CASE WHEN id = $1 THEN NULL ELSE $1 END WHERE id = ANY ($2::uuid[])
"""
OWN: Final = """
WITH RECURSIVE own AS (
    SELECT operation_id AS id FROM entries WHERE account_id = ANY ($1::uuid[])
    UNION
    SELECT later.id FROM own JOIN operations AS later ON later.reverses = own.id
)
SELECT later.id, later.account_id, later.points,
       -COALESCE(returns.spent_minor, reviews.spent_minor, 0) AS back_minor
FROM own JOIN operations AS later ON later.id = own.id
     LEFT JOIN returns ON returns.operation_id = later.id
     LEFT JOIN reviews ON reviews.correction_id = later.id
WHERE later.account_id <> ALL ($1::uuid[]) AND later.id > $2
"""
"""What was done since on the survivor's account, or on one of which this was part meanwhile, and takes back something
of the merged one's, or credits it after all, or takes back what was so credited: it is theirs."""
CHANGED: Final = """
SELECT lot, sum(moved.points)::bigint AS points,
       COALESCE(sum(moved.points) FILTER (WHERE operations.type = 'expiry'), 0)::bigint AS burned
FROM lot_movements AS moved JOIN lots ON lots.account_id = moved.account_id AND lots.operation_id = lot
     JOIN operations ON operations.id = moved.operation_id
WHERE moved.account_id = ANY ($1::uuid[]) AND moved.operation_id > $3 AND (came_from = $2 OR lot = ANY ($4::uuid[]))
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
    into_id: UUID
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
    event is refused where the survivor, or the merged one, is part of somebody else, or the survivor shares the
    merged one's accounts.
    """
    terms = await terms_now(tx)
    await open_accounts(tx, [(event.customer_id, MAIN), (event.merged_id, MAIN)], terms)
    survivor, merged, home = await _lock(tx, event)
    before = next(iter(await tx.sql(KNOWN, event.merged_id)), None)
    if before is not None and event.merged_at <= (before.unmerged_at or before.merged_at):
        return
    if await families.is_merged(tx, event.customer_id):
        tx.refuse(event, "survivor_merged", "customer_id: is part of another customer; merge into that one")
        return
    if await families.is_merged(tx, event.merged_id):
        tx.refuse(event, "merged_before", "merged_id: is part of another customer; undo that merge and replay")
        return
    if survivor is merged:
        tx.refuse(event, "survivor_is_member", "customer_id: shares merged_id's accounts; let them leave and replay")
        return
    await families.release_holds(tx, [merged] if home is merged else [merged, home])
    brought = []
    for account in merged.accounts.values():
        into = await account_of_kind(tx, survivor, account.kind, terms)
        brought.append(await _bring(tx, event, account, into))
    was = await families.join_for_merge(tx, event.merged_id, survivor.customer_id)
    kept = {"was": was, "brought": [_packed(each) for each in brought]}
    await tx.sql(RECORD, event.merged_id, event.customer_id, event.merged_at, orjson.dumps(kept, default=str))
    say_balances(tx, [survivor.main, merged.main, home.main])


async def unmerge(tx: Transaction, event: CustomersUnmerged) -> None:
    """Everything is as it was before the merge; what was earned since is the survivor's.

    Points go back from the accounts to which they were brought, whoever shares these by now; points held there are
    given back first. Repeated and older events change nothing. An event is refused where more than the survivor's own
    is spent.
    """
    row = next(iter(await tx.sql(KNOWN, event.merged_id)), None)
    if row is None or row.customer_id != event.customer_id or event.unmerged_at <= (row.unmerged_at or row.merged_at):
        return
    if row.unmerged_at is not None:
        return
    brought = [_unpacked(each) for each in row.before["brought"]]
    owners = await tx.sql(OWNERS, [account_id for each in brought for account_id in each.pointing])
    into = await lock_accounts(tx, [each.into_id for each in brought], besides=[row.customer_id for row in owners])
    merged = (await lock_holders(tx, [event.merged_id]))[event.merged_id]
    is_merged = any(account.id != into_id for into_id, account in into.items())
    if is_merged or await families.is_merged(tx, event.customer_id):
        tx.refuse(event, "survivor_merged", "customer_id: is part of another customer by now; undo that merge first")
        return
    try:
        goings = [await _going_back(tx, into[each.into_id], each) for each in brought]
    except MergeKept as why:
        tx.refuse(event, "merge_spent", str(why))
        return
    await families.release_holds(tx, [account.holder for account in into.values()])
    for each, going in zip(brought, goings, strict=True):
        await _give_back(tx, event, into[each.into_id], merged.accounts[each.kind], each, going)
    await families.leave_after_merge(tx, event.merged_id, row.before["was"])
    await tx.sql(UNDONE, event.merged_id, event.unmerged_at)
    say_balances(tx, [*into.values(), merged.main])


async def _lock(tx: Transaction, event: CustomersMerged) -> tuple[Holder, Holder, Holder]:
    """Who holds the survivor's accounts, the merged customer, and who holds theirs, all accounts locked in one order.

    So are those of who was merged into the merged one. Where one of them changed families or was merged while this one
    waited for the locks, they are sought again.
    """
    wait = True
    while True:
        asked = await _concerned(tx, event)
        locked = await lock_holders(tx, asked, wait=wait)
        if await _concerned(tx, event) == asked:
            survivor, merged, home = (locked[each] for each in asked[:3])
            return survivor, merged, home
        wait = False


async def _concerned(tx: Transaction, event: CustomersMerged) -> list[UUID]:
    return [
        await families.holder_of(tx, event.customer_id),
        event.merged_id,
        await families.holder_of(tx, event.merged_id),
        *(row.customer_id for row in await tx.sql(PARTS, event.merged_id)),
    ]


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
    goes off what is due, soonest-expiring first; what of theirs paid a debt of the survivor's is due with the last lot.
    """
    lots_due = {
        lot: max(0, brought.lots.get(lot, 0) + opened.get(lot, 0) + changed.get(lot, 0))
        for lot in {**brought.lots, **opened, **changed}
    }
    balance = sum(brought.lots.values()) - brought.debt + own_points
    debt = min(max(brought.debt, -balance), survivors_debt)
    over = sum(lots_due.values()) - max(0, balance + debt)
    if over < 0 and lots_due:
        lots_due[next(reversed(lots_due))] -= over
    for lot, points in lots_due.items():
        less = min(points, max(0, over))
        lots_due[lot] -= less
        over -= less
    return {lot: points for lot, points in lots_due.items() if points}, debt


async def _bring(tx: Transaction, event: CustomersMerged, account: Account, into: Account) -> Brought:
    """Move everything of the locked account into the other one, each lot with its dates."""
    filled = [lot for lot in await lots.filled(tx, account.id) if lot.free]
    moving = {lot.source: lot.free for lot in filled}
    brought = Brought(account.id, into.id, account.kind, new_id(), moving, account.spent_minor, account.debt, [])
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
    own = await tx.sql(OWN, list(brought.pointing), brought.operation_id)
    ids = [row.id for row in own]
    on = list({account.id, *(row.account_id for row in own)})
    rows = await tx.sql(CHANGED, on, brought.account_id, brought.operation_id, ids)
    changed = {row.lot: row.points for row in rows}
    own_points = sum(row.points for row in own) + sum(row.burned for row in rows)
    opened = {row.operation_id: row.amount for row in await tx.sql(OPENED, account.id, ids)}
    due, debt = what_goes_back(brought, own_points, changed, opened, account.debt)
    filled = await lots.remaining(tx, account.id)
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
        UUID(kept["into_id"]),
        kept["kind"],
        UUID(kept["operation_id"]),
        {UUID(lot): points for lot, points in kept["lots"]},
        kept["spent_minor"],
        kept["debt"],
        [UUID(each) for each in kept["pointing"]],
    )
