"""Returns and cancellations: exactly the points that those lines earned go back, from their own lots.

What those lines were paid with in points comes back to the customer first, to the lots that it came from: a return
whose earned points are spent takes them from what it gives back.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson

from chassis import waiting
from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.loyalty import CategoryTotal, PointsReturned
from contracts.purchases import PurchaseCancelled, PurchaseReturned
from services.loyalty import ledger, lots, refunds
from services.loyalty.accounts import Account, lock_accounts, persons_of
from services.loyalty.balances import say_balances
from services.loyalty.ledger import Operation, of_operation
from services.loyalty.lots import Movement, moved
from services.loyalty.pricing import of_returned
from services.loyalty.purchases import KnownPurchase, lock_purchase, set_state
from services.loyalty.refunds import Refund
from services.loyalty.reviews import flag_return, flag_unmatched, is_matched, return_id_of
from services.loyalty.terms import Terms, all_terms, terms_at

BEFORE = "SELECT return_id, content_hash, lines FROM returns WHERE receipt_id = $1"
OF_OTHER_RECEIPT = "SELECT 1 FROM returns WHERE return_id = $1 AND receipt_id <> $2"
RECORD = """
INSERT INTO returns (return_id, receipt_id, operation_id, returned_at, total_minor, points, written_off, refund_id,
                     refunded, refund_burned, content_hash, lines, customer_id, card_number, store_id, terminal_id,
                     spent_minor)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, convert_from($12, 'UTF8')::json, $13, $14, $15, $16, $17)
"""
Money = Mapping[int, int]
"""Money given back by line_no."""


class Impossible(Exception):
    """A return that cannot be: `reason` is a stable word, the text names the field and the mend."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class TakingBack:
    """What a return does: the points that are to go back, and the state of the purchase after it."""

    points: int
    """Earned by what comes back: the programme's."""
    refund: int
    """Paid with for what comes back: the customer's."""
    refunded_before: int
    total_minor: int
    lines: Money
    state: Literal["partly_returned", "returned", "cancelled"]


async def take_back(tx: Transaction, event: PurchaseReturned | PurchaseCancelled) -> None:
    """Take back what the returned lines earned; wait where the purchase is not known yet; refuse what cannot be."""
    terms = await all_terms(tx)
    purchase = await lock_purchase(tx, event.receipt_id)
    if purchase is None:
        await waiting.keep(tx, [event], awaits=[awaited_receipt(event.receipt_id)])
        await flag_unmatched(tx, event, terms)
        return
    await is_matched(tx, event, terms)
    content = tx.heard(event).content_hash
    return_id = return_id_of(event)
    before = await tx.sql(BEFORE, purchase.receipt_id)
    try:
        if _is_repeated(return_id, content, before):
            return
        if await tx.sql(OF_OTHER_RECEIPT, return_id, purchase.receipt_id):
            raise Impossible("return_conflict", "return_id: was used before for another receipt; number returns anew")
        taking = decide(purchase, event, _returned_before(before))
    except Impossible as why:
        tx.refuse(event, why.reason, why.detail)
        return
    await _post(tx, event, purchase, taking, content, terms)


def decide(purchase: KnownPurchase, event: PurchaseReturned | PurchaseCancelled, before: Money) -> TakingBack:
    """What the event takes back of the purchase, of which `before` has come back already; raises `Impossible`."""
    paid = {line.line_no: line.total_minor for line in purchase.lines}
    if isinstance(event, PurchaseCancelled):
        return all_that_is_left(purchase, before)
    if purchase.state == "cancelled":
        raise Impossible("purchase_cancelled", "receipt_id: this purchase was cancelled, nothing is left to return")
    if event.currency != purchase.currency:
        raise Impossible("currency_differs", f"currency: the purchase was paid in {purchase.currency}")
    lines = {line.line_no: line.total_minor for line in event.lines}
    for line_no, returned in lines.items():
        if line_no not in paid:
            raise Impossible("unknown_line", f"lines.line_no: the purchase has no line {line_no}")
        if before.get(line_no, 0) + returned > paid[line_no]:
            raise Impossible("returned_too_much", f"lines: more money back for line {line_no} than was paid for it")
    is_whole = all(before.get(line_no, 0) + lines.get(line_no, 0) == total for line_no, total in paid.items())
    state: Literal["returned", "partly_returned"] = "returned" if is_whole else "partly_returned"
    return _taking(purchase, before, lines, event.total_minor, state)


def all_that_is_left(purchase: KnownPurchase, before: Money) -> TakingBack:
    """All of the purchase that has not come back."""
    lines = {line.line_no: line.total_minor - before.get(line.line_no, 0) for line in purchase.lines}
    return _taking(purchase, before, lines, sum(lines.values()), "cancelled")


async def returned_before(tx: Transaction, receipt_id: str) -> Money:
    """What of the purchase has come back."""
    return _returned_before(await tx.sql(BEFORE, receipt_id))


def awaited_receipt(receipt_id: str) -> str:
    """What a return waits for that came before its purchase; see chassis/waiting.py."""
    return f"receipt:{receipt_id}"


def _taking(
    purchase: KnownPurchase,
    before: Money,
    lines: Money,
    total_minor: int,
    state: Literal["partly_returned", "returned", "cancelled"],
) -> TakingBack:
    """What comes back now: of all that is back after it, less of all that was back before."""
    earned = earned_before = paid = paid_before = 0
    for line in purchase.lines:
        if line.total_minor:
            back = before.get(line.line_no, 0)
            now_back = back + lines.get(line.line_no, 0)
            earned += of_returned(line.points, line.total_minor, now_back)
            earned_before += of_returned(line.points, line.total_minor, back)
            paid += of_returned(line.points_paid, line.total_minor, now_back)
            paid_before += of_returned(line.points_paid, line.total_minor, back)
    return TakingBack(earned - earned_before, paid - paid_before, paid_before, total_minor, lines, state)


def _is_repeated(return_id: str, content: int, before: Sequence[Any]) -> bool:
    for seen_id, seen_content, _ in before:
        if seen_id == return_id:
            if seen_content != content and not return_id.startswith("cancelled:"):
                raise Impossible("return_conflict", "return_id: was entered before with other content; number it anew")
            return True
    return False


def _returned_before(before: Sequence[Any]) -> Money:
    money: dict[int, int] = defaultdict(int)
    for _, _, lines in before:
        for line_no, total_minor in lines:
            money[line_no] += total_minor
    return money


async def _post(
    tx: Transaction,
    event: PurchaseReturned | PurchaseCancelled,
    purchase: KnownPurchase,
    taking: TakingBack,
    content: int,
    terms: Sequence[Terms],
) -> None:
    payment = await refunds.payment_of(tx, purchase)
    accounts = await lock_accounts(tx, [purchase.account_id, *([payment.account_id] if payment else [])])
    account = accounts[purchase.account_id]
    refund = None
    if payment is not None and taking.refund:
        refund = await refunds.refund(
            tx, payment, accounts[payment.account_id], taking.refund, taking.refunded_before, purchase, _when(event)
        )
    operation = await _taking_back(tx, event, purchase, taking, account, terms)
    await flag_return(tx, event, purchase.customer_id, operation.id, terms)
    await tx.sql(
        RECORD,
        return_id_of(event),
        purchase.receipt_id,
        operation.id,
        operation.occurred_at,
        taking.total_minor,
        -operation.points,
        taking.points + operation.points,
        refund and refund.operation.id,
        refund.operation.points if refund else 0,
        refund.burned if refund else 0,
        content,
        orjson.dumps(list(taking.lines.items())),
        purchase.customer_id,
        event.card_number,
        event.store_id,
        event.terminal_id,
        operation.spent_minor,
    )
    await set_state(tx, purchase.receipt_id, taking.state)
    buyer_id = await _buyer_besides(tx, purchase, account)
    if refund is not None:
        tx.say(refunds.points_refunded(refund, purchase, _return_receipt(event)), cause=event)
    tx.say(_points_returned(event, purchase, buyer_id, taking, operation, refund), cause=event)
    say_balances(tx, [account, *([refund.operation.account] if refund else [])])


async def _taking_back(
    tx: Transaction,
    event: PurchaseReturned | PurchaseCancelled,
    purchase: KnownPurchase,
    taking: TakingBack,
    account: Account,
    terms: Sequence[Terms],
) -> Operation:
    movements, owed = await take_earned(tx, account, purchase, taking.points, terms)
    operation = Operation(
        id=new_id(),
        type="return" if isinstance(event, PurchaseReturned) else "cancellation",
        account=account,
        points=moved(movements) - owed,
        spent_minor=0 if purchase.withheld else -taking.total_minor,
        receipt_id=purchase.receipt_id,
        occurred_at=_when(event),
        reverses=purchase.operation_id,
        movements=movements,
        debt=owed,
    )
    ledger.enter([operation])
    await ledger.post(tx, [operation])
    return operation


async def take_earned(
    tx: Transaction, account: Account, purchase: KnownPurchase, points: int, terms: Sequence[Terms]
) -> tuple[Sequence[Movement], int]:
    """From which lots the points go back, and how many of them are owed.

    They go back from the lot of the purchase; for what was spent of it already, the terms say what is done.
    """
    way = terms_at(terms, tx.now).returned_but_spent
    filled = await lots.filled(tx, account.id) if points else []
    if way == "write_off":
        filled = [lot for lot in filled if lot.source == purchase.operation_id]
    movements = lots.take(filled, points, first=purchase.operation_id)
    return movements, points + moved(movements) if way == "debt" else 0


def _return_receipt(event: PurchaseReturned | PurchaseCancelled) -> str:
    return event.return_id if isinstance(event, PurchaseReturned) else event.receipt_id


def _when(event: PurchaseReturned | PurchaseCancelled) -> datetime:
    return event.returned_at if isinstance(event, PurchaseReturned) else event.cancelled_at


async def _buyer_besides(tx: Transaction, purchase: KnownPurchase, account: Account) -> UUID | None:
    """Who had bought, where the account is another customer's by now."""
    if purchase.customer_id == account.customer_id:
        return None
    buyer_id = (await persons_of(tx, [purchase.customer_id]))[purchase.customer_id]
    return None if buyer_id == account.customer_id else buyer_id


def _points_returned(
    event: PurchaseReturned | PurchaseCancelled,
    purchase: KnownPurchase,
    buyer_id: UUID | None,
    taking: TakingBack,
    operation: Operation,
    refund: Refund | None,
) -> PointsReturned:
    by_category: dict[str, int] = defaultdict(int)
    for line in purchase.lines:
        if line.category and taking.lines.get(line.line_no):
            by_category[line.category] += taking.lines[line.line_no]
    return PointsReturned(
        **of_operation(operation),
        buyer_id=buyer_id,
        points=-operation.points,
        written_off=taking.points + operation.points,
        cause="return" if isinstance(event, PurchaseReturned) else "cancellation",
        owed=operation.debt,
        refunded=refund.operation.points if refund else 0,
        refund_burned=refund.burned if refund else 0,
        refund_debt_paid=refund.debt_paid if refund else None,
        return_id=_return_receipt(event),
        receipt_id=purchase.receipt_id,
        store_id=event.store_id,
        terminal_id=event.terminal_id,
        returned_at=operation.occurred_at,
        currency=purchase.currency,
        total_minor=taking.total_minor,
        categories=[CategoryTotal(category=category, total_minor=total) for category, total in by_category.items()],
    )
