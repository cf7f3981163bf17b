"""What loyalty does on each record that it hears."""

from collections.abc import Sequence

from chassis import waiting
from chassis.hears import Hears
from chassis.transaction import Transaction
from contracts.customers import Card, Contact, ContactErased, CustomerBlocked, CustomerUnblocked
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.records import Record
from services.loyalty.accounts import Introduction, forget_phones, introduce
from services.loyalty.accrual import accrue_purchases
from services.loyalty.freezing import freeze, unfreeze
from services.loyalty.returns import awaited_receipt, take_back
from services.loyalty.terms import terms_now

hears = Hears()


@hears.many(PurchaseCompleted)
async def purchases_completed(purchases: Sequence[PurchaseCompleted], tx: Transaction) -> None:
    awaited = await accrue_purchases(tx, purchases)
    await handle_waiting(tx, await waiting.recall(tx, [awaited_receipt(receipt_id) for receipt_id in awaited]))


@hears(PurchaseReturned)
async def purchase_returned(event: PurchaseReturned, tx: Transaction) -> None:
    await take_back(tx, event)


@hears(PurchaseCancelled)
async def purchase_cancelled(event: PurchaseCancelled, tx: Transaction) -> None:
    await take_back(tx, event)


@hears.many(Card)
async def cards_changed(cards: Sequence[Card], tx: Transaction) -> None:
    introductions = [
        Introduction("card", card.card_number, card.customer_id, usable=card.state == "active") for card in cards
    ]
    await handle_waiting(tx, await introduce(tx, introductions, await _points_currency(tx)))


@hears.many(Contact)
async def contacts_changed(contacts: Sequence[Contact], tx: Transaction) -> None:
    phones = {contact.customer_id: contact.phone for contact in contacts}
    await forget_phones(tx, phones)
    introductions = [Introduction("customer", str(customer_id), customer_id) for customer_id in phones]
    introductions += [
        Introduction("phone", phone, customer_id) for customer_id, phone in phones.items() if phone is not None
    ]
    await handle_waiting(tx, await introduce(tx, introductions, await _points_currency(tx)))


@hears(CustomerBlocked)
async def customer_blocked(event: CustomerBlocked, tx: Transaction) -> None:
    await freeze(tx, event)


@hears(CustomerUnblocked)
async def customer_unblocked(event: CustomerUnblocked, tx: Transaction) -> None:
    await unfreeze(tx, event)


@hears.many(ContactErased)
async def contacts_erased(erased: Sequence[ContactErased], tx: Transaction) -> None:
    await forget_phones(tx, {each.customer_id: None for each in erased})


async def handle_waiting(tx: Transaction, recalled: Sequence[Record]) -> None:
    """What waited has what it needs now: it goes the way of any other record of its type."""
    purchases = [each for each in recalled if isinstance(each, PurchaseCompleted)]
    if purchases:
        await purchases_completed(purchases, tx)
    for each in recalled:
        if isinstance(each, PurchaseReturned | PurchaseCancelled):
            await take_back(tx, each)


async def _points_currency(tx: Transaction) -> str:
    return (await terms_now(tx)).points_currency
