"""What is needed to reach each customer, kept from `customers.contacts`; and its end, when the customer is erased.

Whoever locks a contact and messages locks the contact first.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from chassis.transaction import Transaction
from contracts.customers import Contact, ContactErased
from contracts.fields import Channel
from services.messaging import facts
from services.messaging.routes import Reach

STALE: Final = timedelta(minutes=1)
"""Contacts come in order. One that is older than what is known by more than this is a dead letter that was put back
late: taking it would bring back a withdrawn consent or an erased customer. Clocks and waiting transactions differ by
less."""

KEEP = """
INSERT INTO contacts (customer_id, language, time_zone, telegram_chat_id, consents, unreachable, as_of)
SELECT customer_id, language, time_zone, telegram_chat_id, string_to_array(consents, ' '),
       string_to_array(unreachable, ' '), as_of
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[])
     AS said (customer_id, language, time_zone, telegram_chat_id, consents, unreachable, as_of)
ORDER BY customer_id
ON CONFLICT (customer_id) DO UPDATE SET
    language = excluded.language,
    time_zone = excluded.time_zone,
    telegram_chat_id = excluded.telegram_chat_id,
    consents = excluded.consents,
    unreachable = excluded.unreachable,
    as_of = greatest(contacts.as_of, excluded.as_of),
    telegram_bad_since = CASE WHEN 'telegram' = ANY (excluded.unreachable) THEN contacts.telegram_bad_since END,
    erased_at = NULL
WHERE contacts.as_of <= excluded.as_of + $8::interval
"""
ERASE = """
INSERT INTO contacts (customer_id, language, time_zone, consents, unreachable, as_of, erased_at)
VALUES ($1, 'en', 'UTC', '{}', '{}', $2, $3)
ON CONFLICT (customer_id) DO UPDATE SET
    language = excluded.language,
    time_zone = excluded.time_zone,
    telegram_chat_id = NULL,
    consents = excluded.consents,
    unreachable = excluded.unreachable,
    as_of = greatest(contacts.as_of, excluded.as_of),
    telegram_bad_since = NULL,
    erased_at = excluded.erased_at
WHERE contacts.as_of <= excluded.as_of + $4::interval
RETURNING customer_id
"""
FAIL_WAITING = """
UPDATE messages SET status = 'failed', reason = 'erased', settled_at = $2, text = NULL, buttons = '[]'
WHERE customer_id = $1 AND status IN ('accepted', 'scheduled')
RETURNING id, message_key, customer_id, template, channel
"""
FORGET_TEXTS = "UPDATE messages SET text = NULL, buttons = '[]' WHERE customer_id = $1 AND text IS NOT NULL"
LOCK = """
SELECT customer_id, language, time_zone, telegram_chat_id, consents, unreachable, erased_at FROM contacts
WHERE customer_id = ANY ($1::uuid[])
ORDER BY customer_id
FOR NO KEY UPDATE
"""


async def keep_contacts(tx: Transaction, contacts: Sequence[Contact]) -> None:
    """Keep the newest of each customer."""
    newest = {contact.customer_id: contact for contact in contacts}
    kept = list(newest.values())
    await tx.sql(
        KEEP,
        [contact.customer_id for contact in kept],
        [contact.language for contact in kept],
        [contact.time_zone for contact in kept],
        [contact.telegram_chat_id for contact in kept],
        [_names(consent.channel for consent in contact.consents) for contact in kept],
        [_names(contact.unreachable) for contact in kept],
        [tx.heard(contact).time for contact in kept],
        STALE,
    )


async def erase_contact(tx: Transaction, erased: ContactErased) -> None:
    """Forget how to reach the customer and what they were told; what waits to be sent fails."""
    if not await tx.sql(ERASE, erased.customer_id, tx.heard(erased).time, tx.now, STALE):
        return
    for row in await tx.sql(FAIL_WAITING, erased.customer_id, tx.now):
        tx.say(facts.failed(row, row.channel, "erased", tx.now), cause=erased)
    await tx.sql(FORGET_TEXTS, erased.customer_id)


async def lock_contacts(tx: Transaction, customer_ids: Iterable[UUID]) -> Mapping[UUID, Reach]:
    """The contacts of those customers that are known, locked in one order."""
    return {row.customer_id: Reach.of_row(row) for row in await tx.sql(LOCK, sorted(set(customer_ids)))}


def _names(channels: Iterable[Channel]) -> str:
    """An array of channels as one text: `unnest` takes no arrays of arrays of different lengths."""
    return " ".join(sorted(set(channels)))
