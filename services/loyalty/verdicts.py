"""What the staff decide on what was flagged: was it right, or not?

A purchase that is rejected earns nothing and does not count towards the level: what it has earned is taken back, less
what returns have taken already, as a return takes it; from then on its lines earn nothing, so that a later return takes
nothing a second time. A purchase that was withheld for a limit is credited once every review that withheld it is
approved and none is rejected: what of it has not come back earns by the terms of its time, and by what the customer has
spent so far by now. Decisions on returns change no points.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal
from uuid import UUID

from chassis.ids import new_id
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.limits import PointsCorrected, ReviewDecided
from contracts.loyalty import CategoryTotal
from services.loyalty import by_hand, ledger, purchases
from services.loyalty.accounts import Account, is_frozen, lock_accounts
from services.loyalty.balances import say_balances
from services.loyalty.by_hand import Why
from services.loyalty.ledger import Operation, of_operation
from services.loyalty.limits import withheld_by
from services.loyalty.lot_life import begins_and_ends
from services.loyalty.lots import moved
from services.loyalty.pricing import Standing, price_purchase
from services.loyalty.purchases import KnownPurchase, lock_purchase
from services.loyalty.returns import all_that_is_left, returned_before, take_earned
from services.loyalty.terms import all_terms, terms_at

Verdict = Literal["approved", "rejected"]
LOCK: Final = """
SELECT id, limit_code, state, receipt_id, return_id, customer_id, occurred_at FROM reviews WHERE id = $1 FOR UPDATE
"""
OTHERS: Final = """
SELECT hard, state FROM reviews WHERE receipt_id = $1 AND return_id IS NULL AND id <> $2
"""
DECIDE: Final = """
UPDATE reviews SET state = $2, decided_by = $3, decided_at = $4, reason = $5, comment = $6, correction_id = $7,
                   spent_minor = $8
WHERE id = $1
"""


async def decide(tx: Transaction, review_id: UUID, verdict: Verdict, why: Why) -> None:
    """Decide an open review, and correct what its purchase has earned.

    Raises `Problem` 404, 409 where it is decided already, or the customer who should be credited is blocked.
    """
    review = next(iter(await tx.sql(LOCK, review_id)), None)
    if review is None:
        raise Problem(404, "review_not_found", "No review has this id.", field="review_id")
    if review.state != "open":
        raise Problem(409, "review_decided", "This review is decided already.", field="review_id")
    purchase = await _purchase(tx, review) if review.return_id is None else None
    correction = await _correction(tx, review, purchase, verdict) if purchase is not None else None
    if correction is not None:
        await by_hand.note(tx, correction.id, why)
    spent_minor = correction.spent_minor if correction else 0
    correction_id = correction.id if correction else None
    await tx.sql(
        DECIDE, review_id, verdict, str(why.actor), tx.now, why.reason, why.comment, correction_id, spent_minor
    )
    tx.say(
        ReviewDecided(
            review_id=review_id,
            customer_id=review.customer_id,
            limit=review.limit_code,
            receipt_id=review.receipt_id,
            verdict=verdict,
            reason=why.reason,
            actor=str(why.actor),
            correction_id=correction_id,
            rejected_categories=_by_category(purchase) if purchase is not None and verdict == "rejected" else None,
            decided_at=tx.now,
        )
    )


async def _purchase(tx: Transaction, review: Any) -> KnownPurchase:
    purchase = await lock_purchase(tx, review.receipt_id)
    assert purchase is not None  # it was flagged as it was entered into the ledger
    return purchase


def _by_category(purchase: KnownPurchase) -> list[CategoryTotal]:
    totals: Counter[str] = Counter()
    for line in purchase.lines:
        if line.category:
            totals[line.category] += line.total_minor
    return [CategoryTotal(category=category, total_minor=total) for category, total in totals.items()]


async def _correction(tx: Transaction, review: Any, purchase: KnownPurchase, verdict: Verdict) -> Operation | None:
    """The operation by which the verdict changes what the purchase has earned; None where it does not."""
    others = await tx.sql(OTHERS, review.receipt_id, review.id)
    account = (await lock_accounts(tx, [purchase.account_id]))[purchase.account_id]
    if verdict == "rejected":
        return None if purchase.withheld else await _take_away(tx, review, purchase, account)
    if not _is_withheld(purchase) or any(each.state == "rejected" or _withholds(each) for each in others):
        return None
    return await _credit(tx, review, purchase, account)


def _is_withheld(purchase: KnownPurchase) -> bool:
    return purchase.withheld is not None and purchase.withheld.startswith(withheld_by(""))


def _withholds(review: Any) -> bool:
    return bool(review.hard and review.state == "open")


async def _take_away(tx: Transaction, review: Any, purchase: KnownPurchase, account: Account) -> Operation:
    left = all_that_is_left(purchase, await returned_before(tx, purchase.receipt_id))
    movements, owed = await take_earned(tx, account, purchase, left.points, await all_terms(tx))
    operation = Operation(
        id=new_id(),
        type="review",
        account=account,
        points=moved(movements) - owed,
        spent_minor=-left.total_minor,
        receipt_id=purchase.receipt_id,
        occurred_at=tx.now,
        reverses=purchase.operation_id,
        movements=movements,
        debt=owed,
    )
    await _enter(tx, review, operation, written_off=left.points + operation.points, owed=owed)
    await purchases.correct(
        tx,
        purchase,
        operation.points,
        [0] * len(purchase.lines),
        operation_id=purchase.operation_id,
        level=purchase.level,
        withheld=withheld_by(review.limit_code),
    )
    return operation


async def _credit(tx: Transaction, review: Any, purchase: KnownPurchase, account: Account) -> Operation:
    if account.is_frozen or await is_frozen(tx, purchase.customer_id):
        raise Problem(409, "account_frozen", "The customer is blocked and earns nothing; unblock them first.")
    terms = terms_at(await all_terms(tx), review.occurred_at)
    standing = Standing(account.spent_minor, account.bonus_coefficient)
    paid_minor = [line.paid_minor for line in purchase.lines]
    pricing = price_purchase(purchase.lines, paid_minor, standing, terms.currency_of(account.kind), terms)
    left = all_that_is_left(_earning(purchase, pricing.line_points), await returned_before(tx, purchase.receipt_id))
    operation = Operation(
        id=new_id(),
        type="review",
        account=account,
        points=left.points,
        spent_minor=left.total_minor,
        receipt_id=purchase.receipt_id,
        occurred_at=tx.now,
        reverses=purchase.operation_id,
        opens=left.points,
    )
    if left.points:
        operation.activates_at, operation.expires_at = begins_and_ends(terms, review.occurred_at, tx.now)
    await _enter(tx, review, operation)
    await purchases.correct(
        tx,
        purchase,
        operation.points,
        pricing.line_points,
        operation_id=operation.id,
        level=pricing.level,
        withheld=None,
    )
    return operation


def _earning(purchase: KnownPurchase, line_points: Sequence[int]) -> KnownPurchase:
    lines = zip(purchase.lines, line_points, strict=True)
    return replace(purchase, lines=tuple(replace(line, points=points) for line, points in lines))


async def _enter(tx: Transaction, review: Any, operation: Operation, *, written_off: int = 0, owed: int = 0) -> None:
    ledger.enter([operation])
    await ledger.post(tx, [operation])
    tx.say(
        PointsCorrected(
            **of_operation(operation),
            points=operation.points,
            receipt_id=review.receipt_id,
            review_id=review.id,
            written_off=written_off,
            owed=owed,
            activates_at=operation.activates_at,
            expires_at=operation.expires_at,
            debt_paid=(-operation.debt or None) if operation.opens else None,
            corrected_at=tx.now,
        )
    )
    say_balances(tx, [operation.account])
