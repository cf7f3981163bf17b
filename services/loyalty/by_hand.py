"""What the staff do by hand: give points, take them, and take back what was done by hand.

Nothing is edited and nothing deleted: what was a mistake is reversed by an operation of its own, once.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from chassis.actor import Actor
from chassis.ids import new_id
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.loyalty import OperationReversed, PointsAdjusted
from services.loyalty import ledger, lots
from services.loyalty.accounts import Account, lock_account, lock_account_of
from services.loyalty.balances import say_balances
from services.loyalty.ledger import Operation
from services.loyalty.lots import Lot, Movement, moved
from services.loyalty.terms import terms_now

FIND: Final = "SELECT id, type, account_id, points FROM operations WHERE id = $1"
REVERSAL: Final = "SELECT 1 FROM operations WHERE reverses = $1 AND type = 'reversal'"
NOTE: Final = "INSERT INTO operation_notes (operation_id, actor, reason, comment) VALUES ($1, $2, $3, $4)"


@dataclass(frozen=True, slots=True)
class Why:
    """Who does something by hand, and why; `comment` is for the staff alone and is never said."""

    actor: Actor
    reason: str
    comment: str | None


async def adjust(tx: Transaction, customer_id: UUID, points: int, expires_at: datetime | None, why: Why) -> Operation:
    """Give the customer points, or take them (negative), soonest-expiring first.

    Given points live until `expires_at`, else as long as the terms say. Raises `Problem` 404, 422 for an end that is
    past, 409 where there are too few to be taken, or the account that should be given some is frozen.
    """
    terms = await terms_now(tx)
    account = await lock_account_of(tx, customer_id, terms.points_currency)
    if account is None:
        raise Problem(404, "customer_not_found", "Loyalty knows no customer of this id.", field="customer_id")
    if points > 0:
        _refuse_gift(account, expires_at, tx.now)
        if expires_at is None and terms.lot_life is not None:
            expires_at = tx.now + terms.lot_life
        movements: list[Movement] = []
    else:
        movements = lots.take(await lots.filled(tx, account.id), -points)
        _refuse_overdraft(account, points, movements)
    operation = Operation(
        id=new_id(),
        type="manual",
        account=account,
        points=points,
        spent_minor=0,
        receipt_id=None,
        occurred_at=tx.now,
        expires_at=expires_at if points > 0 else None,
        movements=movements,
    )
    await _enter(tx, operation, terms.points_currency, why)
    tx.say(
        PointsAdjusted(
            **_named(operation, terms.points_currency),
            points=points,
            reason=why.reason,
            actor=str(why.actor),
            adjusted_at=tx.now,
            expires_at=operation.expires_at,
        )
    )
    return operation


async def reverse(tx: Transaction, operation_id: UUID, why: Why) -> Operation:
    """Take back an operation by hand, whole: its points leave the lot that they made, or go back to their old lots.

    Raises `Problem` 404, 409 where it was reversed before, was not made by hand, or its points are spent already.
    """
    original = next(iter(await tx.sql(FIND, operation_id)), None)
    if original is None:
        raise Problem(404, "operation_not_found", "No operation has this id.", field="operation_id")
    if original.type != "manual":
        raise Problem(
            409,
            "not_by_hand",
            "Only what was done by hand is reversed; a purchase is returned or cancelled at the till.",
            field="operation_id",
        )
    account, points_currency = await lock_account(tx, original.account_id)
    if await tx.sql(REVERSAL, operation_id):
        raise Problem(409, "already_reversed", "This operation was reversed before.", field="operation_id")
    operation = Operation(
        id=new_id(),
        type="reversal",
        account=account,
        points=-original.points,
        spent_minor=0,
        receipt_id=None,
        occurred_at=tx.now,
        reverses=operation_id,
        movements=await _movements_back(tx, account, original),
    )
    await _enter(tx, operation, points_currency, why)
    tx.say(
        OperationReversed(
            **_named(operation, points_currency),
            reverses=operation_id,
            points=operation.points,
            reason=why.reason,
            actor=str(why.actor),
            reversed_at=tx.now,
        )
    )
    return operation


async def _movements_back(tx: Transaction, account: Account, original: Any) -> list[Movement]:
    if original.points < 0:
        return [Movement(lot, -points) for lot, points in await lots.movements_of(tx, account.id, original.id)]
    own = [lot for lot in await lots.filled(tx, account.id) if lot.source == original.id]
    return _all_of(own, original.points)


def _all_of(own: list[Lot], points: int) -> list[Movement]:
    """Raises `Problem` 409 where some of the points that a gift brought are spent."""
    movements = lots.take(own, points)
    if -moved(movements) < points:
        raise Problem(
            409,
            "points_spent",
            "Of the {points} points {left} are left, the others are spent; take the {left} by hand instead.",
            points=points,
            left=-moved(movements),
        )
    return movements


def _refuse_gift(account: Account, expires_at: datetime | None, now: datetime) -> None:
    if account.is_frozen:
        raise Problem(409, "account_frozen", "The customer is blocked and earns nothing; unblock them first.")
    if expires_at is not None and expires_at <= now:
        raise Problem(422, "expires_in_the_past", "The points would have burned already.", field="expires_at")


def _refuse_overdraft(account: Account, points: int, movements: list[Movement]) -> None:
    if moved(movements) != points:
        raise Problem(
            409,
            "not_enough_points",
            "The customer has {available} points; take so many at most.",
            available=account.balance,
            field="points",
        )


async def _enter(tx: Transaction, operation: Operation, points_currency: str, why: Why) -> None:
    ledger.enter([operation])
    await ledger.post(tx, [operation])
    await tx.sql(NOTE, operation.id, str(why.actor), why.reason, why.comment)
    say_balances(tx, [operation.account], points_currency)


def _named(operation: Operation, points_currency: str) -> dict[str, Any]:
    return {
        "operation_id": operation.id,
        "customer_id": operation.account.customer_id,
        "account_id": operation.account.id,
        "points_currency": points_currency,
        "balance_after": operation.balance_after,
    }
