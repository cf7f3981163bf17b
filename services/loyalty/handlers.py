"""What loyalty does on each record that it hears."""

from collections.abc import Sequence
from itertools import groupby

from chassis import waiting
from chassis.envelope import Raw
from chassis.hears import Hears
from chassis.transaction import Transaction
from contracts.customers import (
    Card,
    Contact,
    ContactErased,
    CustomerBlocked,
    CustomersMerged,
    CustomersUnmerged,
    CustomerUnblocked,
)
from contracts.loyalty_commands import AccruePoints, BurnPoints
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.records import Record
from services.loyalty.accounts import Introduction, forget_phones, introduce
from services.loyalty.accrual import accrue_purchases
from services.loyalty.commands import carry_out
from services.loyalty.freezing import freeze, unfreeze
from services.loyalty.merging import merge, unmerge
from services.loyalty.returns import awaited_receipt, take_back

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
    await handle_waiting(tx, await introduce(tx, introductions))


@hears.many(Contact)
async def contacts_changed(contacts: Sequence[Contact], tx: Transaction) -> None:
    phones = {contact.customer_id: contact.phone for contact in contacts}
    await forget_phones(tx, phones)
    introductions = [Introduction("customer", str(customer_id), customer_id) for customer_id in phones]
    introductions += [
        Introduction("phone", phone, customer_id) for customer_id, phone in phones.items() if phone is not None
    ]
    await handle_waiting(tx, await introduce(tx, introductions))


@hears(CustomerBlocked)
async def customer_blocked(event: CustomerBlocked, tx: Transaction) -> None:
    await freeze(tx, event)


@hears(CustomerUnblocked)
async def customer_unblocked(event: CustomerUnblocked, tx: Transaction) -> None:
    await unfreeze(tx, event)


@hears(CustomersMerged)
async def customers_merged(event: CustomersMerged, tx: Transaction) -> None:
    await merge(tx, event)


@hears(CustomersUnmerged)
async def customers_unmerged(event: CustomersUnmerged, tx: Transaction) -> None:
    await unmerge(tx, event)


@hears(AccruePoints)
async def points_asked_for(command: AccruePoints, tx: Transaction) -> None:
    await carry_out(tx, command)


@hears(BurnPoints)
async def points_to_be_taken(command: BurnPoints, tx: Transaction) -> None:
    await carry_out(tx, command)


@hears.many(ContactErased)
async def contacts_erased(erased: Sequence[ContactErased], tx: Transaction) -> None:
    await forget_phones(tx, {each.customer_id: None for each in erased})


async def handle_waiting(tx: Transaction, recalled: Sequence[Record]) -> None:
    """What waited has what it needs now: it goes the way of any other record of its type, in the order it came.

    With a purchase come the returns that waited for it: what was bought after a return is priced after it.
    """
    receipts = [awaited_receipt(each.receipt_id) for each in recalled if isinstance(each, PurchaseCompleted)]
    came = sorted([*recalled, *await waiting.recall(tx, receipts)], key=lambda each: _place(tx.heard(each).raw))
    for is_purchase, group in groupby(came, key=lambda each: isinstance(each, PurchaseCompleted)):
        if is_purchase:
            await purchases_completed([each for each in group if isinstance(each, PurchaseCompleted)], tx)
        else:
            for each in group:
                if isinstance(each, PurchaseReturned | PurchaseCancelled):
                    await take_back(tx, each)


def _place(raw: Raw) -> tuple[str, int, int]:
    return raw.topic, raw.partition, raw.offset
