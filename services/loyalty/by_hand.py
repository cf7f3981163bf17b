"""What the staff do by hand: give points, take them, and take back what was done by hand.

Nothing is edited and nothing deleted: what was a mistake is reversed by operations of their own, whole or in part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID

from chassis.actor import Actor
from chassis.ids import new_id
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.loyalty import OperationReversed, PointsAdjusted
from services.loyalty import ledger, lots
from services.loyalty.accounts import (
    Account,
    account_of_kind,
    lock_accounts,
    lock_holder_of,
    refuse_more_than_available,
)
from services.loyalty.balances import say_balances
from services.loyalty.ledger import Operation, of_operation
from services.loyalty.lot_life import expires_at
from services.loyalty.lots import Lot, Movement, moved
from services.loyalty.terms import MAIN, Terms, terms_now

FIND: Final = "SELECT id, type, account_id, points FROM operations WHERE id = $1"
REVERSED: Final = """
SELECT COALESCE(sum(-points), 0)::bigint FROM operations WHERE reverses = $1 AND type = 'reversal'
"""
NOTE: Final = """
INSERT INTO operation_notes (operation_id, actor, reason, comment, idempotency_key) VALUES ($1, $2, $3, $4, $5)
"""
GiftType = Literal["manual", "registration", "birthday", "referral", "activity", "promotion", "gift", "compensation"]
"""What is given, or taken, outside of purchases."""
BY_HAND: Final = frozenset(get_args(GiftType))


@dataclass(frozen=True, slots=True)
class Why:
    """Who does something by hand, and why; `comment` is for the staff alone and is never said."""

    actor: Actor | str
    reason: str
    comment: str | None
    idempotency_key: str | None = None
    """Of the request or command that asked for it."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Points to be given to a customer, or taken (negative); `kind` is the kind of account."""

    points: int
    type: GiftType = "manual"
    kind: str = MAIN
    activates_at: datetime | None = None
    """From when given points can be spent; None: at once."""
    expires_at: datetime | None = None
    """When given points burn; None: as the terms say."""


async def adjust(tx: Transaction, customer_id: UUID, asked: Adjustment, why: Why) -> Operation:
    """Give the customer points, or take them, soonest-expiring first.

    Raises `Problem` 404, 422 for dates that are past or an unknown kind of account, 409 where there are too few to be
    taken, or the account that should be given some is frozen.
    """
    terms = await terms_now(tx)
    if terms.kind(asked.kind) is None:
        raise Problem(422, "unknown_account_kind", "The terms have no such kind of account.", field="account")
    holder = await lock_holder_of(tx, customer_id)
    if holder is None:
        raise Problem(404, "customer_not_found", "Loyalty knows no customer of this id.", field="customer_id")
    account = await account_of_kind(tx, holder, asked.kind, terms)
    operation = _gift(tx, account, asked, terms) if asked.points > 0 else await _deduction(tx, account, asked)
    await _enter(tx, operation, why)
    tx.say(
        PointsAdjusted(
            **of_operation(operation),
            occasion=asked.type,
            points=operation.points,
            reason=why.reason,
            actor=str(why.actor),
            adjusted_at=tx.now,
            activates_at=operation.activates_at,
            expires_at=operation.expires_at,
            debt_paid=-operation.debt or None,
        )
    )
    return operation


async def reverse(tx: Transaction, operation_id: UUID, points: int | None, why: Why) -> Operation:
    """Take back an operation by hand, whole or so many of its points, never more than it moved.

    Given points leave the lot that they made; taken ones go back to their old lots. Raises `Problem` 404, 409 where
    there is not so much left to be reversed, it was not made by hand, or its points are spent already.
    """
    original = next(iter(await tx.sql(FIND, operation_id)), None)
    if original is None:
        raise Problem(404, "operation_not_found", "No operation has this id.", field="operation_id")
    if original.type not in BY_HAND:
        raise Problem(
            409,
            "not_by_hand",
            "Only what was done by hand is reversed; a purchase is returned or cancelled at the till.",
            field="operation_id",
        )
    account = (await lock_accounts(tx, [original.account_id]))[original.account_id]
    ((before,),) = await tx.sql(REVERSED, operation_id)
    left = abs(original.points) - abs(before)
    _refuse_reversal(left, points)
    operation = Operation(
        id=new_id(),
        type="reversal",
        account=account,
        points=-(points or left) if original.points > 0 else points or left,
        occurred_at=tx.now,
        reverses=operation_id,
        movements=await _movements_back(tx, account, original, abs(before), points or left),
    )
    await _enter(tx, operation, why)
    tx.say(
        OperationReversed(
            **of_operation(operation),
            reverses=operation_id,
            points=operation.points,
            reason=why.reason,
            actor=str(why.actor),
            reversed_at=tx.now,
            debt_paid=-operation.debt or None,
        )
    )
    return operation


def _gift(tx: Transaction, account: Account, asked: Adjustment, terms: Terms) -> Operation:
    begins = asked.activates_at or tx.now
    expires = asked.expires_at or expires_at(terms, begins)
    _refuse_gift(account, asked, tx.now)
    return Operation(
        id=new_id(),
        type=asked.type,
        account=account,
        points=asked.points,
        occurred_at=tx.now,
        opens=asked.points,
        activates_at=asked.activates_at,
        expires_at=expires,
    )


async def _deduction(tx: Transaction, account: Account, asked: Adjustment) -> Operation:
    refuse_more_than_available(account, -asked.points)
    movements = lots.take(lots.spendable(await lots.filled(tx, account.id)), -asked.points)
    return Operation(
        id=new_id(),
        type=asked.type,
        account=account,
        points=moved(movements),
        occurred_at=tx.now,
        movements=movements,
    )


def _refuse_reversal(left: int, points: int | None) -> None:
    if left == 0:
        raise Problem(409, "already_reversed", "This operation was reversed before.", field="operation_id")
    if points is not None and points > left:
        raise Problem(
            409,
            "reversed_too_much",
            "Of this operation {left} points are left to be reversed.",
            left=left,
            field="points",
        )


async def _movements_back(
    tx: Transaction, account: Account, original: Any, before: int, points: int
) -> Sequence[Movement]:
    """Where so many points go, `before` of them having gone already."""
    if original.points < 0:
        taken = await lots.taken_by(tx, original.account_id, original.id, back_to=account.id)
        return lots.back_to(taken, before - (-original.points + moved(taken)), points)
    own = [lot for lot in await lots.filled(tx, account.id) if lot.source == original.id]
    return _all_of(own, points)


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


def _refuse_gift(account: Account, asked: Adjustment, now: datetime) -> None:
    if account.is_frozen:
        raise Problem(409, "account_frozen", "The customer is blocked and earns nothing; unblock them first.")
    if asked.activates_at is not None and asked.activates_at <= now:
        raise Problem(422, "activates_in_the_past", "Leave it out: they can be spent at once.", field="activates_at")
    if asked.expires_at is not None and asked.expires_at <= (asked.activates_at or now):
        raise Problem(422, "expires_in_the_past", "The points would have burned already.", field="expires_at")


async def _enter(tx: Transaction, operation: Operation, why: Why) -> None:
    ledger.enter([operation])
    await ledger.post(tx, [operation])
    await note(tx, operation.id, why)
    say_balances(tx, [operation.account])


async def note(tx: Transaction, operation_id: UUID, why: Why) -> None:
    """Keep who made the operation, and why."""
    await tx.sql(NOTE, operation_id, str(why.actor), why.reason, why.comment, why.idempotency_key)
