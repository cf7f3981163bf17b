"""The contact state: what the other services may know of a customer, published anew whenever it is another one."""

from typing import Final
from uuid import UUID

from chassis.actor import Actor
from chassis.transaction import Transaction
from contracts.customers import Consent, Contact, CustomerChanged
from contracts.records import Record
from services.customers import audit
from services.customers.customer import Customer, read

TOLD: Final = (
    "phone",
    "first_name",
    "last_name",
    "birth_date",
    "email",
    "telegram_chat_id",
    "language",
    "time_zone",
    "unreachable",
)
"""What `CustomerChanged` names; consents have events of their own."""


def contact_of(customer: Customer) -> Contact:
    """The customer's contact, consents and dead channels in a fixed order, so that equal ones compare equal."""
    return Contact(
        customer_id=customer.id,
        first_name=customer.first_name,
        last_name=customer.last_name,
        birth_date=customer.birth_date,
        phone=customer.phone,
        email=customer.email,
        telegram_chat_id=customer.telegram_chat_id,
        language=customer.language,
        time_zone=customer.time_zone,
        consents=[Consent(channel=given.channel, given_at=given.given_at) for given in customer.consents],
        unreachable=list(customer.unreachable),
    )


def changed_fields(before: Customer, after: Customer) -> list[str]:
    """Names of what is different, in a fixed order."""
    return [name for name in TOLD if getattr(before, name) != getattr(after, name)]


async def tell(
    tx: Transaction, before: Customer, who: Actor | str, *, cause: Record | None = None, again: bool = False
) -> Customer:
    """Say what has changed since `before`, which was read under the lock that is still held; gives the customer now.

    With `again` the contact is said even if it is the same: somebody waits for it.
    """
    after = (await read(tx, [before.id]))[before.id]
    changed = changed_fields(before, after)
    if changed:
        await audit.record(tx, after.id, "changed", who, changed)
        tx.say(CustomerChanged(customer_id=after.id, changed=changed), cause=cause)
    if again or contact_of(before) != contact_of(after):
        tx.say(contact_of(after), cause=cause)
    return after


async def tell_first(tx: Transaction, customer_id: UUID, *, cause: Record | None = None) -> Customer:
    """Say the first contact of a customer who was registered in this transaction."""
    customer = (await read(tx, [customer_id]))[customer_id]
    tx.say(contact_of(customer), cause=cause)
    return customer
