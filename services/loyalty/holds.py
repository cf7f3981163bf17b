"""Holds: points reserved for a purchase until it is completed, let go, or the hold times out.

A hold names the lots that its points are of, so that they neither burn nor are spent elsewhere meanwhile. The lock of
its account is the lock of the hold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from prometheus_client import Counter

from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.holds import HoldReleased, PointsHeld
from services.loyalty import ledger, lots, quotes
from services.loyalty.accounts import Account, lock_accounts, of_account
from services.loyalty.balances import say_balances
from services.loyalty.ledger import WRITE_FIGURES
from services.loyalty.lots import Movement

HoldState = Literal["held", "captured", "released", "timed_out"]
Cause = Literal["released", "timed_out", "not_captured", "accounts_changed"]
PIECE_HOLDS: Final = 500
COLUMNS: Final = """
id, receipt_id, account_id, kind, points, worth_minor, redemption_coefficient, state, held_at, expires_at
"""
READ: Final = f"SELECT {COLUMNS} FROM holds WHERE id = ANY ($1::uuid[])"  # noqa: S608 (a constant)
OF_RECEIPTS: Final = f"""
SELECT {COLUMNS} FROM holds WHERE receipt_id = ANY ($1::text[]) AND state = 'held'
"""  # noqa: S608 (a constant)
AT_TERMINAL: Final = """
AND EXISTS (SELECT FROM purchases WHERE purchases.receipt_id = holds.receipt_id AND terminal_id = $2)
"""
OF_ACCOUNTS: Final = f"""
SELECT {COLUMNS} FROM holds WHERE account_id = ANY ($1::uuid[]) AND state = 'held' ORDER BY id
"""  # noqa: S608 (a constant)
DUE: Final = """
SELECT id, account_id, $1 - expires_at FROM holds WHERE state = 'held' AND expires_at <= $1 ORDER BY expires_at LIMIT $2
"""
LOTS: Final = """
SELECT hold_id, lot, hold_lots.points
FROM hold_lots JOIN holds ON holds.id = hold_id
     JOIN lots ON lots.account_id = holds.account_id AND lots.operation_id = lot
WHERE hold_id = ANY ($1::uuid[]) ORDER BY hold_id, lots.expires_at NULLS LAST, lot
"""
PLACE: Final = f"""
WITH purchase AS (
    UPDATE purchases SET state = 'held' WHERE receipt_id = $7 AND state = 'quoted' RETURNING receipt_id
), placed AS (
    INSERT INTO holds ({COLUMNS})
    SELECT $8, receipt_id, $9, $10, $11, $12, $13, 'held', $14, $15 FROM purchase RETURNING id, account_id
), taken AS (
    INSERT INTO hold_lots (hold_id, lot, points)
    SELECT id, taken.* FROM placed, unnest($16::uuid[], $17::bigint[]) AS taken RETURNING lot, points
), reserved AS (
    UPDATE lots SET held = held + taken.points FROM placed, taken
    WHERE lots.account_id = placed.account_id AND operation_id = lot
)
{WRITE_FIGURES} AND EXISTS (SELECT FROM placed) RETURNING id
"""  # noqa: S608 (constants)
"""Nothing is written where the purchase is not quoted any more."""
LET_GO: Final = f"""
WITH gone AS (
    UPDATE holds SET state = $7, settled_at = $8 WHERE id = ANY ($9::uuid[]) AND settled_at IS NULL
    RETURNING id, receipt_id, account_id
), freed AS (
    SELECT account_id, lot, sum(hold_lots.points)::bigint AS points FROM gone JOIN hold_lots ON hold_id = gone.id
    GROUP BY account_id, lot
), given_back AS (
    UPDATE lots SET held = held - freed.points FROM freed
    WHERE lots.account_id = freed.account_id AND operation_id = lot
), quoted AS (
    UPDATE purchases SET state = 'quoted', quoted_at = $8 FROM gone
    WHERE purchases.receipt_id = gone.receipt_id AND purchases.state = 'held' AND $10
)
{WRITE_FIGURES} AND EXISTS (SELECT FROM gone) RETURNING id
"""  # noqa: S608 (constants)
"""Nothing is written where the holds stand no more. Each lot is changed once: PostgreSQL applies one change a row and
statement."""
CAPTURED: Final = """
UPDATE holds SET state = 'captured', missing = captured.missing, settled_at = $3
FROM unnest($1::uuid[], $2::bigint[]) AS captured (id, missing) WHERE holds.id = captured.id
"""
QUOTED_AGAIN: Final[frozenset[Cause]] = frozenset({"released", "accounts_changed"})
"""Why a hold goes whose purchase is as it was quoted; with the others it is abandoned, or completed."""

timed_out = Counter("kopilka_holds_timed_out_total", "Holds of points that no till captured or released in time.")


@dataclass(frozen=True, slots=True)
class Hold:
    """Points that are reserved for a receipt, or were."""

    id: UUID
    receipt_id: str
    account_id: UUID
    kind: str
    points: int
    worth_minor: int
    redemption_coefficient: int
    """The customer's own, when they were held."""
    state: HoldState
    held_at: datetime
    expires_at: datetime


async def place(tx: Transaction, account: Account, quoted: quotes.Quoted, points: int, worth_minor: int) -> Hold | None:
    """Reserve available points of the locked account for a quoted receipt, soonest-expiring first.

    None, and nothing is kept, where its purchase has gone on meanwhile.
    """
    taken = lots.take(lots.spendable(await lots.filled(tx, account.id)), points)
    hold = Hold(
        new_id(),
        quoted.receipt_id,
        account.id,
        account.kind,
        points,
        worth_minor,
        account.redemption_coefficient,
        "held",
        tx.now,
        tx.now + timedelta(seconds=quoted.terms.hold_life_s),
    )
    account.held += points
    placed = await tx.sql(
        PLACE,
        *ledger.figures([account]),
        hold.receipt_id,
        hold.id,
        hold.account_id,
        hold.kind,
        points,
        worth_minor,
        hold.redemption_coefficient,
        hold.held_at,
        hold.expires_at,
        [each.lot for each in taken],
        [-each.points for each in taken],
    )
    if not placed:
        return None
    tx.say(
        PointsHeld(
            **of_account(account),
            hold_id=hold.id,
            receipt_id=hold.receipt_id,
            store_id=quoted.store_id,
            terminal_id=quoted.terminal_id,
            points=points,
            worth_minor=worth_minor,
            currency=quoted.currency,
            held_at=tx.now,
            expires_at=hold.expires_at,
            available_after=account.available,
        )
    )
    say_balances(tx, [account])
    return hold


async def read(tx: Transaction, hold_ids: Sequence[UUID]) -> dict[UUID, Hold]:
    """Holds by id, in whatever state."""
    return {row.id: Hold(*row) for row in await tx.sql(READ, hold_ids)}


async def standing_for(tx: Transaction, receipt_ids: Sequence[str]) -> list[Hold]:
    """The points that are held for these receipts now."""
    return [Hold(*row) for row in await tx.sql(OF_RECEIPTS, receipt_ids)]


async def standing_at(tx: Transaction, receipt_id: str, terminal_id: str) -> list[Hold]:
    """The same for a receipt that this till has quoted."""
    return [Hold(*row) for row in await tx.sql(OF_RECEIPTS + AT_TERMINAL, [receipt_id], terminal_id)]


async def standing_on(tx: Transaction, account_ids: Sequence[UUID]) -> list[Hold]:
    """The points of these accounts that are held now."""
    return [Hold(*row) for row in await tx.sql(OF_ACCOUNTS, account_ids)]


async def lots_of(tx: Transaction, holds: Iterable[Hold]) -> dict[UUID, list[Movement]]:
    """By hold, what taking its points moves, soonest-expiring first."""
    movements: dict[UUID, list[Movement]] = {}
    for hold_id, lot, points in await tx.sql(LOTS, [hold.id for hold in holds]):
        movements.setdefault(hold_id, []).append(Movement(lot, -points, held=-points))
    return movements


async def take(tx: Transaction, captured: Sequence[tuple[Hold, Account, int]]) -> dict[UUID, list[Movement]]:
    """By hold that stands on the locked account, what taking so many of its points moves; the others are free again."""
    of = await lots_of(tx, [hold for hold, _, _ in captured])
    taking: dict[UUID, list[Movement]] = {}
    free = []
    for hold, account, points in captured:
        left = points
        for each in of[hold.id]:
            taken = min(left, -each.points)
            left -= taken
            if taken:
                taking.setdefault(hold.id, []).append(Movement(each.lot, -taken, held=-taken))
            if each.points + taken:
                free.append((account.id, each.lot, 0, each.points + taken))
        account.held -= hold.points - points
    if free:
        await lots.change(tx, free)
    return taking


async def mark_captured(tx: Transaction, captured: Sequence[tuple[Hold, int]]) -> None:
    """Purchases have taken their holds; of each so many points were not there any more."""
    await tx.sql(CAPTURED, [hold.id for hold, _ in captured], [missing for _, missing in captured], tx.now)


async def let_go(tx: Transaction, holds: Sequence[tuple[Hold, Account]], because: Cause) -> bool:
    """Give the points of holds back to their locked accounts; see QUOTED_AGAIN for their purchases.

    False, and nothing is kept, where they stand no more. Several are known to stand: they were read under the lock.
    """
    if not holds:
        return False
    released = [_give_back(tx, hold, account, because) for hold, account in holds]
    gone = await tx.sql(
        LET_GO,
        *ledger.figures(account for _, account in holds),
        "timed_out" if because == "timed_out" else "released",
        tx.now,
        [hold.id for hold, _ in holds],
        because in QUOTED_AGAIN,
    )
    if not gone:
        return False
    tx.say(*released)
    return True


def _give_back(tx: Transaction, hold: Hold, account: Account, because: Cause) -> HoldReleased:
    account.held -= hold.points
    return HoldReleased(
        **of_account(account),
        hold_id=hold.id,
        receipt_id=hold.receipt_id,
        points=hold.points,
        because=because,
        released_at=tx.now,
        available_after=account.available,
    )


async def release_timed_out(tx: Transaction) -> bool:
    """Give back what no till captured or released in time; its purchase is abandoned. True where more may be due."""
    due = await tx.sql(DUE, tx.now, PIECE_HOLDS)
    if not due:
        return False
    accounts = await lock_accounts(tx, list({row.account_id for row in due}))
    standing = [hold for hold in (await read(tx, [row.id for row in due])).values() if hold.state == "held"]
    going = [(hold, accounts[hold.account_id]) for hold in standing]
    await let_go(tx, going, "timed_out")
    await quotes.abandon(tx, [hold.receipt_id for hold in standing])
    say_balances(tx, [account for _, account in going])
    timed_out.inc(len(going))
    return len(due) == PIECE_HOLDS
