"""Crediting purchases: what each one earned goes into the ledger, once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from chassis import waiting
from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.loyalty import CategoryTotal, PointsAccrued
from contracts.purchases import PurchaseCompleted
from services.loyalty import capturing, ledger, purchases
from services.loyalty.accounts import Opened, account_of_kind, awaited, find_and_lock, kind_of
from services.loyalty.activity import prolong_lots
from services.loyalty.balances import say_balances
from services.loyalty.ledger import Operation, of_operation
from services.loyalty.limits import Amounts, Breach, Counts, Deed, count_purchases, judge
from services.loyalty.lot_life import begins_and_ends
from services.loyalty.pricing import Standing, price_purchase
from services.loyalty.purchases import BEFORE_LEDGER, Accrual, Payment, Seen
from services.loyalty.reviews import Flagged, open_reviews
from services.loyalty.terms import Terms, all_terms, terms_at

CLOCK_TOLERANCE = timedelta(days=1)
"""A till's clock may run ahead by so much."""


async def accrue_purchases(tx: Transaction, new: Sequence[PurchaseCompleted]) -> list[str]:
    """Credit what each purchase earned; keep those whose card is not known yet; refuse what cannot be.

    Points that were held for a purchase are taken; what breaks a limit is flagged. Gives the receipts for which a
    return may have been waiting.
    """
    terms = await all_terms(tx)
    possible = [purchase for purchase in new if _is_possible(tx, purchase, terms)]
    found = await find_and_lock(tx, {purchase.key: kind_of(purchase) for purchase in possible})
    await _keep_waiting(tx, [purchase for purchase in possible if purchase.key not in found])
    known = [purchase for purchase in possible if _opens_account(tx, purchase, found.blocked, found.opened)]
    seen = await purchases.known_receipts(tx, [purchase.receipt_id for purchase in known])
    unseen = _unseen(tx, known, seen)
    payments = await capturing.settle_holds(tx, unseen, found.opened, seen, terms)
    counts = await count_purchases(tx, (_deed(each, found.opened[each.key]) for each in unseen), terms)
    accruals = [
        await _accrual(tx, purchase, found.opened[purchase.key], terms, payments.get(purchase.receipt_id), counts)
        for purchase in unseen
        if not tx.is_refused(purchase)
    ]
    if not accruals:
        return []
    payments_posted = [each.payment.operation for each in accruals if each.payment and each.payment.operation]
    operations = [*payments_posted, *(each.operation for each in accruals)]
    await ledger.post(tx, operations)
    await prolong_lots(tx, [each.operation for each in accruals], terms)
    had_row = await purchases.record(tx, accruals)
    for each in accruals:
        if each.payment is not None:
            capturing.tell_redeemed(tx, each.purchase, each.payment)
    for each in accruals:
        tx.say(_points_accrued(each), cause=each.purchase)
    if counts is not None:
        await open_reviews(tx, [_flagged(each) for each in accruals])
    say_balances(tx, [operation.account for operation in operations])
    found.part()
    return had_row


def _is_possible(tx: Transaction, purchase: PurchaseCompleted, terms: Sequence[Terms]) -> bool:
    if purchase.completed_at > tx.now + CLOCK_TOLERANCE:
        tx.refuse(purchase, "date_in_future", "completed_at: lies in the future; set the till's clock right")
    elif purchase.currency not in terms_at(terms, purchase.completed_at).currencies:
        tx.refuse(purchase, "unknown_currency", "currency: is not one that the programme takes; add it to the terms")
    else:
        return True
    return False


def _opens_account(
    tx: Transaction, purchase: PurchaseCompleted, blocked: set[str], opened: Mapping[str, Opened]
) -> bool:
    if purchase.key in blocked:
        tx.refuse(purchase, "card_blocked", "card_number: this card is blocked; unblock it and replay, or drop")
    return purchase.key in opened


async def _keep_waiting(tx: Transaction, unknown: Sequence[PurchaseCompleted]) -> None:
    if unknown:
        await waiting.keep(tx, unknown, awaits=[awaited(kind_of(each), each.key) for each in unknown])


def _unseen(tx: Transaction, known: Sequence[PurchaseCompleted], seen: Mapping[str, Seen]) -> list[PurchaseCompleted]:
    """Without the receipts that were credited before; one that comes again with other content is refused."""
    credited = {receipt_id: each.content_hash for receipt_id, each in seen.items() if each.state not in BEFORE_LEDGER}
    unseen = []
    for purchase in known:
        content = tx.heard(purchase).content_hash
        if purchase.receipt_id not in credited:
            credited[purchase.receipt_id] = content
            unseen.append(purchase)
        elif credited[purchase.receipt_id] != content:
            tx.refuse(purchase, "receipt_conflict", RECEIPT_CONFLICT)
    return unseen


RECEIPT_CONFLICT = "receipt_id: was credited before with other content; give every receipt an id of its own"


async def _accrual(
    tx: Transaction,
    purchase: PurchaseCompleted,
    opened: Opened,
    terms: Sequence[Terms],
    payment: Payment | None,
    counts: Counts | None,
) -> Accrual:
    in_force = terms_at(terms, purchase.completed_at)
    account = await account_of_kind(tx, opened.holder, in_force.earning_kind(purchase.store_id), in_force)
    standing = Standing(
        account.spent_minor,
        account.bonus_coefficient,
        withheld="account_frozen" if account.is_frozen or opened.is_buyer_frozen else None,
    )
    pricing = price_purchase(
        purchase.lines, payment.line_minor if payment else None, standing, in_force.currency_of(account.kind), in_force
    )
    breaches: Sequence[Breach] = ()
    if counts is not None:
        spent: Amounts = {"points_spent": payment.points if payment else 0, "receipt_total_minor": purchase.total_minor}
        pricing, breaches = judge(counts, _deed(purchase, opened), spent, pricing, in_force.limits)
    operation = Operation(
        id=new_id(),
        type="purchase",
        account=account,
        points=pricing.points,
        spent_minor=0 if pricing.withheld else purchase.total_minor,
        receipt_id=purchase.receipt_id,
        occurred_at=purchase.completed_at,
        opens=pricing.points,
    )
    if pricing.points:
        operation.activates_at, operation.expires_at = begins_and_ends(in_force, purchase.completed_at, tx.now)
    ledger.enter([operation])
    return Accrual(purchase, opened.buyer_id, pricing, operation, tx.heard(purchase).content_hash, payment, breaches)


def _deed(purchase: PurchaseCompleted, opened: Opened) -> Deed:
    return Deed(purchase.completed_at, purchase.card_number, opened.buyer_id, purchase.terminal_id)


def _flagged(accrual: Accrual) -> Flagged:
    purchase = accrual.purchase
    return Flagged(
        accrual.breaches,
        accrual.buyer_id,
        purchase.receipt_id,
        purchase.store_id,
        purchase.terminal_id,
        purchase.completed_at,
        purchase,
        accrual.operation.id,
    )


def _points_accrued(accrual: Accrual) -> PointsAccrued:
    purchase, operation, account = accrual.purchase, accrual.operation, accrual.operation.account
    by_category: dict[str, int] = defaultdict(int)
    for line in purchase.lines:
        if line.category:
            by_category[line.category] += line.total_minor
    return PointsAccrued(
        **of_operation(operation),
        points=operation.points,
        receipt_id=purchase.receipt_id,
        store_id=purchase.store_id,
        terminal_id=purchase.terminal_id,
        completed_at=purchase.completed_at,
        currency=purchase.currency,
        total_minor=purchase.total_minor,
        categories=[CategoryTotal(category=category, total_minor=total) for category, total in by_category.items()],
        expires_at=operation.expires_at,
        activates_at=operation.activates_at,
        buyer_id=None if accrual.buyer_id == account.customer_id else accrual.buyer_id,
        points_paid=accrual.payment.points if accrual.payment else None,
        points_missing=(accrual.payment.missing or None) if accrual.payment else None,
        debt_paid=-operation.debt or None,
        withheld=accrual.pricing.withheld,
    )
