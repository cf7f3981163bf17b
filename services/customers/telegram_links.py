"""Linking Telegram chats: a chat belongs to one customer at most, and the latest word about it stands."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from chassis.transaction import Transaction
from contracts.customers import LinkTelegram, UnlinkTelegram
from contracts.records import Record
from services.customers import consents, merging, reachability, registration
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
PERSONS: Final = """
WITH persons AS (SELECT coalesce(merged_into, id) AS id FROM customers WHERE id = ANY ($1::uuid[]))
SELECT id, id AS survivor FROM persons
UNION
SELECT parts.id, persons.id FROM customers AS parts JOIN persons ON parts.merged_into = persons.id
"""
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

    Who says “stop” wants no advertising there either: the consents to it that they had given by then, by any of their
    records, are withdrawn, whichever chat they have now. Linking a chat gives none.
    """
    customers = dict(await lock_with_survivors(tx, PERSONS, [command.customer_id for command in commands]))
    for command in commands:
        named = customers.get(command.customer_id)
        if named is None:
            tx.refuse(command, "unknown_customer", "customer_id: no customer has had this id")
            continue
        said_at = min(tx.heard(command).time, tx.now)
        survivor = survivor_of(customers, named)
        for record in (*(customers[each.customer_id] for each in survivor.merged), survivor):
            is_withdrawn = await _withdraw_consent(tx, record, said_at, command)
            if (
                record.id in (named.id, survivor.id)
                and record.erased_at is None
                and record.telegram_chat_id in (None, command.telegram_chat_id)
                and is_older(record, said_at)
            ):
                customers[record.id] = await _set_chat(tx, record, None, said_at, command)
            elif is_withdrawn:
                customers[record.id] = await _tell(tx, record, command)


async def _withdraw_consent(tx: Transaction, customer: Customer, said_at: datetime, command: Record) -> bool:
    given = consents.given_on(customer, "telegram")
    if given is None or given.given_at > said_at:
        return False
    await consents.note_withdrawn(tx, customer.id, "telegram", BOT, said_at, cause=command)
    return True


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
    """A new chat may be tried at once; the same one if this is a later word than that it went bad."""
    answers_since = said_at if chat_id == customer.telegram_chat_id else tx.now
    await tx.sql(SET_CHAT, customer.id, chat_id, said_at)
    if customer.merged_into is None:
        await reachability.try_again(tx, customer.id, "telegram", answers_since)
    return await _tell(tx, customer, command, again=is_answer)


async def _tell(tx: Transaction, customer: Customer, command: Record, *, again: bool = False) -> Customer:
    """Nothing is said of a merged record: it has no contact."""
    if customer.merged_into is not None:
        return (await read(tx, [customer.id]))[customer.id]
    return await tell(tx, customer, BOT, cause=command, again=again)


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
