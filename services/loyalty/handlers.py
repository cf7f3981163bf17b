"""What loyalty does on each record that it hears."""

from collections.abc import Sequence

from chassis import waiting
from chassis.hears import Hears
from chassis.transaction import Transaction
from contracts.customers import Card, Contact, ContactErased
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.records import Record
from services.loyalty.accounts import forget_phones, introduce, open_account
from services.loyalty.accrual import accrue_purchases
from services.loyalty.returns import awaited_receipt, take_back
from services.loyalty.terms import all_terms

hears = Hears()


@hears.many(PurchaseCompleted)
async def purchases_completed(purchases: Sequence[PurchaseCompleted], tx: Transaction) -> None:
    for receipt_id in await accrue_purchases(tx, purchases):
        await handle_waiting(tx, await waiting.recall(tx, awaited_receipt(receipt_id)))


@hears(PurchaseReturned)
async def purchase_returned(event: PurchaseReturned, tx: Transaction) -> None:
    await take_back(tx, event)


@hears(PurchaseCancelled)
async def purchase_cancelled(event: PurchaseCancelled, tx: Transaction) -> None:
    await take_back(tx, event)


@hears(Card)
async def card_changed(card: Card, tx: Transaction) -> None:
    await open_account(tx, card.customer_id, await _points_currency(tx))
    recalled = await introduce(tx, "card", card.card_number, card.customer_id, usable=card.state == "active")
    await handle_waiting(tx, recalled)


@hears(Contact)
async def contact_changed(contact: Contact, tx: Transaction) -> None:
    await open_account(tx, contact.customer_id, await _points_currency(tx))
    await forget_phones(tx, contact.customer_id, but=contact.phone)
    recalled = list(await introduce(tx, "customer", str(contact.customer_id), contact.customer_id, usable=True))
    if contact.phone is not None:
        recalled += await introduce(tx, "phone", contact.phone, contact.customer_id, usable=True)
    await handle_waiting(tx, recalled)


@hears(ContactErased)
async def contact_erased(erased: ContactErased, tx: Transaction) -> None:
    await forget_phones(tx, erased.customer_id)


async def handle_waiting(tx: Transaction, recalled: Sequence[Record]) -> None:
    """What waited has what it needs now: it goes the way of any other record of its type."""
    purchases = [each for each in recalled if isinstance(each, PurchaseCompleted)]
    if purchases:
        await purchases_completed(purchases, tx)
    for each in recalled:
        if isinstance(each, PurchaseReturned | PurchaseCancelled):
            await take_back(tx, each)


async def _points_currency(tx: Transaction) -> str:
    return (await all_terms(tx))[0].points_currency
