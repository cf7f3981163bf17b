"""Whose chat it is. customers decides; the bot asks it to, hears the outcome with the contact, and tells the chat.

A chat that customers moves from one person to another is for a moment that of both, in whichever order their
contacts come: the later word of the two counts (`linked_at`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

import phonenumbers

from chassis.transaction import Transaction
from contracts.customers import Contact, LinkTelegram, UnlinkTelegram
from contracts.feedback import TelegramLinked, TelegramUnlinked
from contracts.fields import Language
from services.feedback import appeals, outgoing
from services.feedback.balances import balance_text
from services.feedback.chats import Turn
from services.feedback.texts import words

NAME_MAX_CHARS: Final = 100
STALE: Final = timedelta(minutes=1)
"""A contact that is older than what is known by more than this is a dead letter that was put back late."""
TOLD_WITHIN: Final = timedelta(days=1)
"""Who shared the contact is told that the chat is linked; nobody hears it when old contacts are read anew."""

ASK: Final = "UPDATE chats SET link_asked_at = $2 WHERE chat_id = $1"
TRUST_AGAIN: Final = "UPDATE customers SET stopped_chat_id = NULL WHERE stopped_chat_id = $1"
STOP: Final = """
UPDATE customers SET chat_id = NULL, linked_at = NULL, stopped_chat_id = $2 WHERE customer_id = $1
"""
KNOWN: Final = "SELECT customer_id, chat_id, erased_at FROM customers WHERE customer_id = ANY ($1)"
MAKE_CHATS: Final = """
INSERT INTO chats (chat_id, seen_at) SELECT chat_id, $2 FROM unnest($1::bigint[]) AS named (chat_id) ORDER BY chat_id
ON CONFLICT DO NOTHING
"""
LOCK_CHATS: Final = """
SELECT chat_id, language, link_asked_at FROM chats WHERE chat_id = ANY ($1) ORDER BY chat_id FOR UPDATE
"""
MAKE_CUSTOMERS: Final = """
INSERT INTO customers (customer_id)
SELECT customer_id FROM unnest($1::uuid[]) AS named (customer_id) ORDER BY customer_id
ON CONFLICT DO NOTHING
"""
LOCK_CUSTOMERS: Final = """
SELECT customer_id, chat_id, linked_at, stopped_chat_id, contact_as_of, balances FROM customers
WHERE customer_id = ANY ($1) AND erased_at IS NULL ORDER BY customer_id FOR UPDATE
"""
KEEP: Final = """
UPDATE customers SET chat_id = heard.chat_id, linked_at = heard.linked_at, stopped_chat_id = heard.stopped_chat_id,
    is_reachable = heard.is_reachable, language = heard.language, contact_as_of = heard.as_of
FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::bigint[], $5::bool[], $6::text[], $7::timestamptz[])
     AS heard (customer_id, chat_id, linked_at, stopped_chat_id, is_reachable, language, as_of)
WHERE customers.customer_id = heard.customer_id
"""
STILL_LINKED: Final = "SELECT chat_id FROM customers WHERE chat_id = ANY ($1)"
ANSWERED: Final = "UPDATE chats SET link_asked_at = NULL WHERE chat_id = ANY ($1)"


@dataclass(frozen=True)
class SharedContact:
    """A contact that somebody sent, as Telegram gives it."""

    phone_number: str
    user_id: int | None
    first_name: str | None
    last_name: str | None


async def ask_to_link(turn: Turn, contact: SharedContact, sender_id: int) -> None:
    """Have customers link the chat, if the contact is the sender's own: Telegram vouches for no other number."""
    texts = turn.words
    if contact.user_id != sender_id:
        await turn.ask_contact(texts.gettext("This is somebody else's number. Press the button to share your own."))
        return
    phone = _e164(contact.phone_number)
    if phone is None:
        await turn.ask_contact(texts.gettext("I cannot link this number. Press the button to share another one."))
        return
    await turn.tx.sql(ASK, turn.chat_id, turn.tx.now)
    await turn.tx.sql(TRUST_AGAIN, turn.chat_id)
    turn.tx.say(
        LinkTelegram(
            phone=phone,
            telegram_chat_id=turn.chat_id,
            first_name=_name(contact.first_name),
            last_name=_name(contact.last_name),
            language=turn.language,
        )
    )
    await turn.reply(texts.gettext("Thank you! Looking for your card…"), take_keyboard=True)


async def stop(turn: Turn) -> None:
    """The person wants no more of this: unlinked here at once, and by customers for everybody else."""
    if turn.customer_id is None:
        await turn.reply(turn.words.gettext("This chat is not linked to a card."), take_keyboard=True)
        return
    await turn.tx.sql(STOP, turn.customer_id, turn.chat_id)
    turn.tx.say(
        TelegramUnlinked(customer_id=turn.customer_id, unlinked_at=turn.tx.now),
        UnlinkTelegram(customer_id=turn.customer_id, telegram_chat_id=turn.chat_id),
    )
    await turn.reply(
        turn.words.gettext("This chat is unlinked: nothing more will come here. Send /start to link it again."),
        take_keyboard=True,
    )


@dataclass(frozen=True)
class _Link:
    """What a contact makes of a customer's row."""

    contact: Contact
    before: Any
    said_at: datetime

    @property
    def is_stopped(self) -> bool:
        chat_id = self.contact.telegram_chat_id
        return chat_id is not None and chat_id == self.before.stopped_chat_id

    @property
    def chat_id(self) -> int | None:
        return None if self.is_stopped else self.contact.telegram_chat_id

    @property
    def linked_at(self) -> datetime | None:
        if self.chat_id is None:
            return None
        return self.said_at if self.chat_id != self.before.chat_id else self.before.linked_at

    @property
    def is_new(self) -> bool:
        return self.chat_id is not None and self.chat_id != self.before.chat_id

    @property
    def lost_chat_id(self) -> int | None:
        """The chat that is the customer's no more."""
        return self.before.chat_id if self.before.chat_id != self.chat_id else None


async def hear_contacts(tx: Transaction, contacts: Sequence[Contact]) -> None:
    """Keep whose chat is whose; say who was linked and unlinked, and tell the chats."""
    newest = {contact.customer_id: contact for contact in contacts}
    known = await tx.sql(KNOWN, list(newest))
    for erased in (row.customer_id for row in known if row.erased_at is not None):
        del newest[erased]
    with_chat = {
        customer_id: contact for customer_id, contact in newest.items() if contact.telegram_chat_id is not None
    }
    chats = await _lock_chats(
        tx,
        {row.chat_id for row in known if row.chat_id is not None}
        | {contact.telegram_chat_id for contact in with_chat.values() if contact.telegram_chat_id is not None},
    )
    await tx.sql(MAKE_CUSTOMERS, list(with_chat))
    links = [
        _Link(contact, before, said_at)
        for before in await tx.sql(LOCK_CUSTOMERS, sorted(newest))
        for contact in [newest[before.customer_id]]
        for said_at in [tx.heard(contact).time]
        if before.contact_as_of is None or said_at >= before.contact_as_of - STALE
    ]
    await _keep(tx, links)
    for link in links:
        await _say(tx, link)
    await _tell_linked(tx, links, chats)
    await _tell_unlinked(tx, links, chats)


async def _lock_chats(tx: Transaction, concerned: set[int]) -> dict[int, Any]:
    if not concerned:
        return {}
    await tx.sql(MAKE_CHATS, sorted(concerned), tx.now)
    return {row.chat_id: row for row in await tx.sql(LOCK_CHATS, sorted(concerned))}


async def _keep(tx: Transaction, links: Sequence[_Link]) -> None:
    await tx.sql(
        KEEP,
        [link.contact.customer_id for link in links],
        [link.chat_id for link in links],
        [link.linked_at for link in links],
        [link.before.stopped_chat_id if link.is_stopped else None for link in links],
        ["telegram" not in link.contact.unreachable for link in links],
        [link.contact.language for link in links],
        [link.said_at for link in links],
    )


async def _say(tx: Transaction, link: _Link) -> None:
    """Unlinked from the old chat, linked to the new one; appeals from before the link are the customer's now."""
    customer_id = link.contact.customer_id
    if link.lost_chat_id is not None:
        tx.say(TelegramUnlinked(customer_id=customer_id, unlinked_at=tx.now), cause=link.contact)
    if link.is_new and link.chat_id is not None:
        tx.say(TelegramLinked(customer_id=customer_id, linked_at=tx.now), cause=link.contact)
        await appeals.adopt(tx, link.chat_id, customer_id, cause=link.contact)


async def _tell_linked(tx: Transaction, links: Sequence[_Link], chats: dict[int, Any]) -> None:
    told = []
    for link in links:
        chat = chats.get(link.chat_id) if link.chat_id is not None else None
        if chat is None or chat.link_asked_at is None or tx.now - chat.link_asked_at > TOLD_WITHIN:
            continue
        language = _language(chat, link.contact.language)
        linked = words(language).gettext("Done: this chat is linked to your card.")
        await outgoing.write(tx, chat.chat_id, f"{linked} {balance_text(language, link.before.balances)}")
        told.append(chat.chat_id)
    if told:
        await tx.sql(ANSWERED, told)


async def _tell_unlinked(tx: Transaction, links: Sequence[_Link], chats: dict[int, Any]) -> None:
    """Where customers took the chat away; a chat that has a new owner, or asked for one, hears of that instead."""
    lost = {link.lost_chat_id: link for link in links if link.lost_chat_id is not None}
    linked = {chat_id for (chat_id,) in await tx.sql(STILL_LINKED, list(lost))} if lost else set()
    for chat_id, link in lost.items():
        chat = chats.get(chat_id)
        if chat is None or chat_id in linked or chat.link_asked_at is not None:
            continue
        texts = words(_language(chat, link.contact.language))
        text = texts.gettext("This chat is no longer linked to a card. Send /start to link it again.")
        await outgoing.write(tx, chat_id, text)


def _language(chat: Any, otherwise: Language) -> Language:
    return cast(Language, chat.language or otherwise)


def _e164(phone_number: str) -> str | None:
    """Telegram leaves out the plus more often than not."""
    try:
        number = phonenumbers.parse("+" + phone_number.lstrip("+"))
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _name(given: str | None) -> str | None:
    """PostgreSQL and the contract take neither NUL nor more than a hundred characters."""
    return (given or "").replace("\0", "").strip()[:NAME_MAX_CHARS] or None
