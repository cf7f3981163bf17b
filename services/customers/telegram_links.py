"""Linking Telegram chats: a chat belongs to one customer at most, and the latest word about it stands."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from chassis.transaction import Transaction
from contracts.customers import LinkTelegram, UnlinkTelegram
from contracts.records import Record
from services.customers import merging, reachability, registration
from services.customers.audit import BOT
from services.customers.claims import claim
from services.customers.contacts import tell, tell_first
from services.customers.customer import Customer, lock_with_survivors, read, survivor_of
from services.customers.profile_fields import tidy_name
from services.customers.registration import Registration

CONCERNED: Final = """
SELECT id, coalesce(merged_into, id) AS survivor FROM customers
WHERE phone = ANY ($1::text[]) OR telegram_chat_id = ANY ($2::bigint[])
"""
NAMED: Final = "SELECT id, coalesce(merged_into, id) AS survivor FROM customers WHERE id = ANY ($1::uuid[])"
SET_CHAT: Final = "UPDATE customers SET telegram_chat_id = $2, telegram_changed_at = $3 WHERE id = $1"


def is_older(customer: Customer, said_at: datetime) -> bool:
    """Whether the customer's Telegram was last changed by an earlier word: a replayed command changes nothing."""
    return customer.telegram_changed_at is None or customer.telegram_changed_at < said_at


async def link(tx: Transaction, commands: Sequence[LinkTelegram]) -> None:
    """Give each chat to the customer with the phone, who is registered if they are new, and take it from a former one.

    Telegram vouches for the phone, so that it is taken as it is. The names and the language are for a new customer
    alone: what a person is called in Telegram does not overwrite what they told at the till. The contact is said for
    every new command, changed or not: the bot waits for it to tell the person that the chat is linked. Whose phone is
    that of a merged record is its survivor.
    """
    phones = [command.phone for command in commands]
    chats = [command.telegram_chat_id for command in commands]
    await claim(tx, phones=phones, telegram_chat_ids=chats)
    await lock_with_survivors(tx, CONCERNED, phones, chats)
    for command in commands:
        await _link(tx, command)


async def unlink(tx: Transaction, commands: Sequence[UnlinkTelegram]) -> None:
    """Take each chat from its customer, unless they have another by now, or a later word of this one was heard.

    Where the customer has no chat, the word is remembered by its moment: a link that was asked for before it and is
    heard after it counts less. What is said to a merged record is said to its survivor as well.
    """
    customers = dict(await lock_with_survivors(tx, NAMED, [command.customer_id for command in commands]))
    for command in commands:
        named = customers.get(command.customer_id)
        if named is None:
            tx.refuse(command, "unknown_customer", "customer_id: no customer has had this id")
            continue
        said_at = min(tx.heard(command).time, tx.now)
        for customer in {each.id: each for each in (named, survivor_of(customers, named))}.values():
            if (
                customer.erased_at is None
                and customer.telegram_chat_id in (None, command.telegram_chat_id)
                and is_older(customer, said_at)
            ):
                customers[customer.id] = await _set_chat(tx, customer, None, said_at, command)


async def _link(tx: Transaction, command: LinkTelegram) -> None:
    customer, holder = await _concerned(tx, command)
    said_at = min(tx.heard(command).time, tx.now)
    if holder is not None and (customer is None or holder.id != customer.id):
        if not is_older(holder, said_at):
            return
        if customer is not None and holder.is_part_of(customer):
            await merging.hand_over(tx, holder, "telegram_chat_id")
        else:
            await _set_chat(tx, holder, None, said_at, command)
    if customer is None:
        await _register(tx, command, said_at)
    elif is_older(customer, said_at):
        await _set_chat(tx, customer, command.telegram_chat_id, said_at, command, is_answer=True)


async def _concerned(tx: Transaction, command: LinkTelegram) -> tuple[Customer | None, Customer | None]:
    """The customer with the phone, and the record that has the chat so far."""
    found = await tx.sql(CONCERNED, [command.phone], [command.telegram_chat_id])
    customers = await read(tx, list({each for row in found for each in row}))
    named = (survivor_of(customers, each) for each in customers.values() if each.phone == command.phone)
    holders = (each for each in customers.values() if each.telegram_chat_id == command.telegram_chat_id)
    return next(named, None), next(holders, None)


async def _set_chat(
    tx: Transaction,
    customer: Customer,
    chat_id: int | None,
    said_at: datetime,
    command: Record,
    *,
    is_answer: bool = False,
) -> Customer:
    """A new chat may be tried at once; the same one if this is a later word than that it went bad.

    Nothing is said of a merged record: it has no contact.
    """
    answers_since = said_at if chat_id == customer.telegram_chat_id else tx.now
    await tx.sql(SET_CHAT, customer.id, chat_id, said_at)
    if customer.merged_into is not None:
        return (await read(tx, [customer.id]))[customer.id]
    await reachability.try_again(tx, customer.id, "telegram", answers_since)
    return await tell(tx, customer, BOT, cause=command, again=is_answer)


async def _register(tx: Transaction, command: LinkTelegram, said_at: datetime) -> None:
    asked = Registration(
        phone=command.phone,
        first_name=tidy_name(command.first_name),
        last_name=tidy_name(command.last_name),
        language=command.language,
    )
    customer_id = await registration.add(
        tx,
        asked,
        BOT,
        telegram_chat_id=command.telegram_chat_id,
        telegram_linked_at=said_at,
        cause=command,
    )
    await tell_first(tx, customer_id, cause=command)
