"""Crediting purchases: what each one earned goes into the ledger, once."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from chassis import waiting
from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.loyalty import CategoryTotal, PointsAccrued
from contracts.purchases import PurchaseCompleted
from services.loyalty import ledger, purchases
from services.loyalty.accounts import Account, awaited, find_and_lock, kind_of
from services.loyalty.balances import say_balances
from services.loyalty.ledger import Operation
from services.loyalty.pricing import price_purchase
from services.loyalty.purchases import Accrual
from services.loyalty.terms import Terms, all_terms, terms_at

CLOCK_TOLERANCE = timedelta(days=1)
"""A till's clock may run ahead by so much."""


async def accrue_purchases(tx: Transaction, new: Sequence[PurchaseCompleted]) -> list[str]:
    """Credit what each purchase earned; keep those whose card is not known yet; refuse what cannot be.

    Gives the receipts for which a return has been waiting.
    """
    terms = await all_terms(tx)
    points_currency = terms_at(terms, tx.now).points_currency
    possible = [purchase for purchase in new if _is_possible(tx, purchase, terms)]
    found = await find_and_lock(tx, possible, points_currency)
    await _keep_waiting(tx, [purchase for purchase in possible if purchase.key not in found])
    known = [purchase for purchase in possible if _opens_account(tx, purchase, found.blocked, found.accounts)]
    accruals = [_accrual(tx, purchase, found.accounts[purchase.key], terms) for purchase in await _unseen(tx, known)]
    if not accruals:
        return []
    await ledger.post(tx, [each.operation for each in accruals])
    awaited_receipts = await purchases.record(tx, accruals)
    for each in accruals:
        tx.say(_points_accrued(each, points_currency), cause=each.purchase)
    say_balances(tx, [each.operation.account for each in accruals], points_currency)
    return awaited_receipts


def _is_possible(tx: Transaction, purchase: PurchaseCompleted, terms: Sequence[Terms]) -> bool:
    if purchase.completed_at > tx.now + CLOCK_TOLERANCE:
        tx.refuse(purchase, "date_in_future", "completed_at: lies in the future; set the till's clock right")
    elif purchase.currency not in terms_at(terms, purchase.completed_at).currencies:
        tx.refuse(purchase, "unknown_currency", "currency: is not one that the programme takes; add it to the terms")
    else:
        return True
    return False


def _opens_account(
    tx: Transaction, purchase: PurchaseCompleted, blocked: set[str], accounts: dict[str, Account]
) -> bool:
    if purchase.key in blocked:
        tx.refuse(purchase, "card_blocked", "card_number: this card is blocked; unblock it and replay, or drop")
    return purchase.key in accounts


async def _keep_waiting(tx: Transaction, unknown: Sequence[PurchaseCompleted]) -> None:
    if unknown:
        await waiting.keep(tx, unknown, awaits=[awaited(kind_of(each), each.key) for each in unknown])


async def _unseen(tx: Transaction, known: Sequence[PurchaseCompleted]) -> list[PurchaseCompleted]:
    """Without the receipts that were credited before; one that comes again with other content is refused."""
    seen = await purchases.known_receipts(tx, [purchase.receipt_id for purchase in known])
    unseen = []
    for purchase in known:
        content = tx.heard(purchase).content_hash
        before = seen.setdefault(purchase.receipt_id, content) if purchase.receipt_id in seen else None
        if before is None:
            seen[purchase.receipt_id] = content
            unseen.append(purchase)
        elif before != content:
            tx.refuse(purchase, "receipt_conflict", RECEIPT_CONFLICT)
    return unseen


RECEIPT_CONFLICT = "receipt_id: was credited before with other content; give every receipt an id of its own"


def _accrual(tx: Transaction, purchase: PurchaseCompleted, account: Account, terms: Sequence[Terms]) -> Accrual:
    in_force = terms_at(terms, purchase.completed_at)
    pricing = price_purchase(purchase.total_minor, account.spent_minor, in_force, is_frozen=account.is_frozen)
    operation = Operation(
        id=new_id(),
        type="purchase",
        account=account,
        points=pricing.points,
        spent_minor=0 if pricing.withheld else purchase.total_minor,
        receipt_id=purchase.receipt_id,
        occurred_at=purchase.completed_at,
        expires_at=None if in_force.lot_life is None else purchase.completed_at + in_force.lot_life,
    )
    ledger.enter([operation])
    return Accrual(purchase, pricing, operation, tx.heard(purchase).content_hash)


def _points_accrued(accrual: Accrual, points_currency: str) -> PointsAccrued:
    purchase, operation = accrual.purchase, accrual.operation
    by_category: dict[str, int] = defaultdict(int)
    for line in purchase.lines:
        if line.category:
            by_category[line.category] += line.total_minor
    return PointsAccrued(
        operation_id=operation.id,
        customer_id=operation.account.customer_id,
        account_id=operation.account.id,
        points_currency=points_currency,
        balance_after=operation.balance_after,
        points=operation.points,
        receipt_id=purchase.receipt_id,
        store_id=purchase.store_id,
        terminal_id=purchase.terminal_id,
        completed_at=purchase.completed_at,
        currency=purchase.currency,
        total_minor=purchase.total_minor,
        categories=[CategoryTotal(category=category, total_minor=total) for category, total in by_category.items()],
        expires_at=operation.expires_at,
        withheld=accrual.pricing.withheld,
    )
