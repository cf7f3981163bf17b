"""Registration: one phone is one customer, however often and by however many tills it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from chassis.actor import Actor
from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.customers import CustomerRegistered
from contracts.fields import Channel, Language
from contracts.records import Record
from services.customers import audit, cards, consents, tables
from services.customers.claims import claim
from services.customers.contacts import tell_first
from services.customers.customer import Customer, lock_by_phone, read_one
from services.customers.profile_fields import refuse_unborn
from services.customers.settings import customers_settings


@dataclass(frozen=True)
class Registration:
    """Who is to be registered: fields as `profile_fields` tidied them."""

    phone: str
    first_name: str | None = None
    last_name: str | None = None
    birth_date: date | None = None
    email: str | None = None
    language: Language | None = None
    time_zone: str | None = None
    consents: Sequence[Channel] = ()
    card_number: str | None = None
    issue_card: bool = False


async def register(tx: Transaction, asked: Registration, who: Actor) -> tuple[Customer, bool]:
    """The customer with this phone, and whether they are new.

    One who was there already keeps their profile and consents; the card that is asked for they have in either case:
    the given one, or where one is to be issued any active one. Raises `Problem` 409 for a card of somebody else's.
    """
    refuse_unborn(asked.birth_date, tx.now)
    await claim(tx, phones=[asked.phone])
    known = await lock_by_phone(tx, asked.phone)
    customer_id = known.id if known is not None else await add(tx, asked, who)
    if asked.card_number is not None:
        await cards.add(tx, customer_id, asked.card_number, who)
    elif asked.issue_card and not (known and cards.has_active(known)):
        await cards.issue(tx, customer_id, who)
    if known is not None:
        return await read_one(tx, customer_id), False
    return await tell_first(tx, customer_id), True


async def add(
    tx: Transaction,
    asked: Registration,
    who: Actor,
    *,
    telegram_chat_id: int | None = None,
    telegram_linked_at: datetime | None = None,
    cause: Record | None = None,
) -> UUID:
    """Insert a customer whose phone is claimed and nobody's. The caller says the contact once it is complete."""
    customer_id = new_id()
    settings = customers_settings()
    profile = {
        "phone": asked.phone,
        "first_name": asked.first_name,
        "last_name": asked.last_name,
        "birth_date": asked.birth_date,
        "email": asked.email,
        "telegram_chat_id": telegram_chat_id,
        "language": asked.language or settings.customer_language,
        "time_zone": asked.time_zone or settings.customer_time_zone,
    }
    await tx.execute(
        tables.customers.insert().values(
            id=customer_id,
            source=who.source,
            registered_at=tx.now,
            phone_changed_at=tx.now,
            email_changed_at=tx.now if asked.email else None,
            telegram_changed_at=telegram_linked_at,
            **profile,
        )
    )
    filled = [name for name, value in profile.items() if value is not None]
    await audit.record(tx, customer_id, "registered", who, filled)
    tx.say(CustomerRegistered(customer_id=customer_id, registered_at=tx.now, source=who.source), cause=cause)
    for channel in sorted(set(asked.consents)):
        await consents.note_given(tx, customer_id, channel, who)
    return customer_id
