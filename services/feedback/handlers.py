"""What feedback does on each record that it hears."""

from collections.abc import Sequence

from chassis.hears import Hears
from chassis.transaction import Transaction
from contracts.customers import Contact, ContactErased
from contracts.loyalty import Balance, PointsAccrued
from services.feedback.balances import keep_balances
from services.feedback.erasure import forget_customer
from services.feedback.linking import hear_contacts
from services.feedback.questions import ask_after_purchases
from services.feedback.settings import feedback_settings

hears = Hears()


@hears.many(Contact)
async def contacts_changed(contacts: Sequence[Contact], tx: Transaction) -> None:
    await hear_contacts(tx, contacts)


@hears(ContactErased)
async def contact_erased(erased: ContactErased, tx: Transaction) -> None:
    await forget_customer(tx, erased)


@hears.many(Balance)
async def balances_changed(states: Sequence[Balance], tx: Transaction) -> None:
    await keep_balances(tx, states)


@hears.many(PointsAccrued)
async def purchases_entered(purchases: Sequence[PointsAccrued], tx: Transaction) -> None:
    await ask_after_purchases(tx, purchases, pause=feedback_settings().nps_pause)
