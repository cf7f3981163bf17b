"""Expiry: points burn at the end of their lot. In bounded pieces, so that no till waits for a year of it."""

from collections import defaultdict
from typing import Final
from uuid import UUID

from prometheus_client import Counter, Gauge

from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.loyalty import PointsExpired
from services.loyalty import ledger
from services.loyalty.accounts import Account, lock_accounts
from services.loyalty.balances import say_balances
from services.loyalty.ledger import Operation, of_operation
from services.loyalty.lots import Movement, moved
from services.loyalty.terms import terms_now

PIECE_LOTS: Final = 500
DUE: Final = """
SELECT account_id, $1 - expires_at FROM lots JOIN accounts ON accounts.id = account_id
WHERE remaining > 0 AND remaining > lots.held AND expires_at <= $1 AND (frozen_at IS NULL OR $3)
ORDER BY expires_at LIMIT $2
"""
OF_ACCOUNTS: Final = """
SELECT account_id, operation_id, remaining - held, pending FROM lots
WHERE account_id = ANY ($1::uuid[]) AND remaining > held AND expires_at <= $2 ORDER BY account_id, operation_id
"""

expired = Counter("kopilka_points_expired_total", "Points that burned at the end of their lot.")
behind_s = Gauge("kopilka_expiry_behind_s", "How long ago the oldest points that are still to burn should have burned.")


async def expire_due_lots(tx: Transaction) -> bool:
    """Burn what is left in lots that have ended; True where more may be due.

    Each account has one operation and one event for all of its lots. Frozen accounts are left alone where the terms
    say that their points do not age, and so are points that are held for a purchase.
    """
    age = (await terms_now(tx)).lots_age_while_frozen
    due = await tx.sql(DUE, tx.now, PIECE_LOTS, age)
    behind_s.set(due[0][1].total_seconds() if due else 0)
    if not due:
        return False
    locked = await lock_accounts(tx, list({account_id for account_id, _ in due}))
    aging = {account.id: account for account in locked.values() if age or not account.is_frozen}
    ending = await _ending(tx, list(aging))
    burning = [_expiry(tx, aging[account_id], movements) for account_id, movements in ending.items()]
    ledger.enter(burning)
    await ledger.post(tx, burning)
    for operation in burning:
        _tell(tx, operation)
    say_balances(tx, [operation.account for operation in burning])
    return len(due) == PIECE_LOTS


async def _ending(tx: Transaction, account_ids: list[UUID]) -> dict[UUID, list[Movement]]:
    """What is taken from each account's ended lots; read again under the lock, for it may have been spent meanwhile."""
    ending: dict[UUID, list[Movement]] = defaultdict(list)
    for account_id, lot, free, pending in await tx.sql(OF_ACCOUNTS, account_ids, tx.now):
        ending[account_id].append(Movement(lot, -free, pending))
    return ending


def _expiry(tx: Transaction, account: Account, movements: list[Movement]) -> Operation:
    return Operation(
        id=new_id(),
        type="expiry",
        account=account,
        points=moved(movements),
        occurred_at=tx.now,
        movements=movements,
    )


def _tell(tx: Transaction, operation: Operation) -> None:
    tx.say(PointsExpired(**of_operation(operation), points=-operation.points, expired_at=tx.now))
    expired.inc(-operation.points)
