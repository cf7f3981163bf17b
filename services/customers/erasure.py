"""Erasure: the person leaves, what they did stays without them.

At once and in one transaction the customer's personal data leaves every table of this service: the profile, and with
it the copies that the chassis keeps for a while (answers to Idempotency-Keys, commands that could not be processed,
contacts that wait to be published). A tombstone takes the contact off `customers.contacts`, and the other services
hear `CustomerErased`. What stays names nobody: the id, the moments, the proof of consents, the trail, blocked cards.
"""

from uuid import UUID

from chassis.actor import Actor
from chassis.transaction import Transaction
from contracts.customers import Contact, ContactErased, CustomerErased, LinkTelegram
from services.customers import audit, cards
from services.customers.customer import Customer, changeable, living, lock_person
from services.customers.settings import customers_settings

EMPTY_PROFILE = """
UPDATE customers SET
    phone = NULL, first_name = NULL, last_name = NULL, birth_date = NULL, email = NULL, telegram_chat_id = NULL,
    phone_changed_at = NULL, email_changed_at = NULL, telegram_changed_at = NULL,
    taken = CASE WHEN taken IS NOT NULL THEN '{}'::jsonb END,
    language = $2, time_zone = $3, erased_at = $4
WHERE id = $1
"""
FORGET_CONSENTS = "DELETE FROM consents WHERE customer_id = $1"
FORGET_UNREACHABLE = "DELETE FROM unreachable_channels WHERE customer_id = $1"
FORGET_ANSWERS = """
DELETE FROM idempotency_keys
WHERE position(convert_to($1, 'UTF8') IN body) > 0 OR position($1 IN route) > 0
"""
"""Every answer with a customer's data names their id. A scan of two days' answers, for the sake of nothing missed."""
NAMES_THE_PERSON = """(
    key = convert_to($2, 'UTF8')
    OR position(convert_to('"' || $2 || '"', 'UTF8') IN value) > 0
    OR encode(value, 'escape') ~ ('"telegram_chat_id"\\s*:\\s*"?' || $3 || '(?![0-9])')
)"""
"""Whether a command that may be malformed has their phone ($2) or chat ($3)."""
FORGET_DEAD_LETTERS = f"DELETE FROM dead_letters WHERE topic = $1 AND {NAMES_THE_PERSON}"  # noqa: S608 (a constant)
FORGET_UNPUBLISHED = f"""
DELETE FROM outbox WHERE id IN (
    SELECT id FROM outbox
    WHERE (starts_with(topic, $1) AND {NAMES_THE_PERSON})
       OR (topic = $4 AND key = convert_to($5, 'UTF8'))
    ORDER BY id FOR UPDATE SKIP LOCKED
)
"""  # noqa: S608 (a constant)
"""A locked row is one that the relay has published and deletes just now. A contact that is never published is no loss:
the tombstone comes behind it on the same key."""


async def erase(tx: Transaction, customer_id: UUID, who: Actor) -> None:
    """Erase the customer, and with them the records that are part of them.

    One who was erased before stays so, and nothing is said again. Raises `Problem` 404, and 409 for a record that is
    part of another: the person is erased as a whole, and there is no way back, so that it is asked for by their own id.
    """
    customer, merged = await lock_person(tx, customer_id)
    if customer is not None and customer.erased_at is not None:
        return
    customer = living(customer)
    for record in merged:
        if record.id == customer_id:
            changeable(record)
    for card in customer.cards:
        if card.state != "blocked":
            await cards.set_state(tx, customer, card, "blocked", who)
    for record in (*merged, customer):
        await _empty(tx, record)
        await _forget_copies(tx, record)
        await audit.record(tx, record.id, "erased", who)
        tx.say(CustomerErased(customer_id=record.id, erased_at=tx.now), ContactErased(customer_id=record.id))


async def _empty(tx: Transaction, customer: Customer) -> None:
    settings = customers_settings()
    await tx.sql(EMPTY_PROFILE, customer.id, settings.customer_language, settings.customer_time_zone, tx.now)
    await tx.sql(FORGET_CONSENTS, customer.id)
    await tx.sql(FORGET_UNREACHABLE, customer.id)


async def _forget_copies(tx: Transaction, customer: Customer) -> None:
    chat_id = None if customer.telegram_chat_id is None else str(customer.telegram_chat_id)
    await tx.sql(FORGET_ANSWERS, str(customer.id))
    command = (LinkTelegram.topic, customer.phone, chat_id)
    await tx.sql(FORGET_DEAD_LETTERS, *command)
    await tx.sql(FORGET_UNPUBLISHED, *command, Contact.topic, str(customer.id))
