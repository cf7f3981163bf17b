"""Channels that went dead. The address is kept and the channel is named in the contact, until it has a new address.

For Telegram that is another sharing of the contact with the bot (`LinkTelegram`), be it the same chat; for SMS and
e-mail another phone or address in the profile.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.transaction import Transaction
from contracts.fields import Channel
from contracts.messaging import ContactWentBad
from services.customers.contacts import tell
from services.customers.customer import Customer, lock

MARK = """
INSERT INTO unreachable_channels (customer_id, channel, since, reason) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
"""
UNMARK = "DELETE FROM unreachable_channels WHERE customer_id = $1 AND channel = $2 AND since <= $3"
FORGET = "DELETE FROM unreachable_channels WHERE customer_id = $1 AND channel = ANY ($2::text[])"
HAND_ON = "UPDATE unreachable_channels SET customer_id = $2 WHERE customer_id = $1 AND channel = ANY ($3::text[])"
CHANNEL_OF: Final[Mapping[str, Channel]] = {"phone": "sms", "email": "email", "telegram_chat_id": "telegram"}
"""The channel that a field is the address of."""
ADDRESSES: Final[Mapping[Channel, Callable[[Customer], tuple[object, datetime | None]]]] = {
    "telegram": lambda customer: (customer.telegram_chat_id, customer.telegram_changed_at),
    "sms": lambda customer: (customer.phone, customer.phone_changed_at),
    "email": lambda customer: (customer.email, customer.email_changed_at),
}
"""A channel's address and when it was last given, of those channels whose address is the customer's."""


def is_news(customer: Customer, channel: Channel, since: datetime) -> bool:
    """Whether it is the address of today that went bad, and not one that was replaced since, or rests by a merge."""
    if customer.erased_at is not None or customer.merged_into is not None:
        return False
    if channel not in ADDRESSES:
        return True
    address, given_at = ADDRESSES[channel](customer)
    return address is not None and (given_at is None or given_at < since)


async def went_bad(tx: Transaction, events: Sequence[ContactWentBad]) -> None:
    """Mark each channel; old news change nothing."""
    customers = dict(await lock(tx, [event.customer_id for event in events]))
    for event in events:
        customer = customers.get(event.customer_id)
        if customer is None:
            tx.refuse(event, "unknown_customer", "customer_id: no customer has had this id")
        elif is_news(customer, event.channel, event.since):
            await tx.sql(MARK, customer.id, event.channel, event.since, event.reason)
            customers[customer.id] = await tell(tx, customer, "messaging", cause=event)


async def try_again(tx: Transaction, customer_id: UUID, channel: Channel, answers_since: datetime) -> None:
    """The channel of a customer who is locked has a new address, or the old one answers again since that moment."""
    await tx.sql(UNMARK, customer_id, channel, answers_since)


async def hand_on(tx: Transaction, giver_id: UUID, taker_id: UUID, channels: Sequence[Channel]) -> None:
    """The addresses of these channels go from one customer to the other, both locked, dead or alive as they are."""
    await tx.sql(FORGET, taker_id, channels)
    await tx.sql(HAND_ON, giver_id, taker_id, channels)
