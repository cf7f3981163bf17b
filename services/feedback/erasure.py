"""Forgetting people: a customer who was erased, and chats that never became anybody's."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from chassis.transaction import Transaction
from contracts.customers import ContactErased
from contracts.feedback import TelegramUnlinked

STRANGER_KEPT: Final = timedelta(days=90)
"""A chat that belongs to nobody, and what was written there, is forgotten after so long a silence."""
UPDATE_KEPT: Final = timedelta(days=3)
"""Telegram repeats an update for a day at most, and never gives its id to another one within a week."""
PIECE_ROWS: Final = 1000

LOCK_CHATS: Final = """
SELECT FROM chats
WHERE chat_id IN (SELECT unnest(ARRAY[chat_id, stopped_chat_id]) FROM customers WHERE customer_id = $1)
ORDER BY chat_id FOR UPDATE
"""
MAKE: Final = "INSERT INTO customers (customer_id) VALUES ($1) ON CONFLICT DO NOTHING"
LOCK: Final = "SELECT chat_id, stopped_chat_id FROM customers WHERE customer_id = $1 FOR UPDATE"
ERASE: Final = """
UPDATE customers SET chat_id = NULL, linked_at = NULL, stopped_chat_id = NULL, language = 'ru', contact_as_of = NULL,
    balances = NULL, balances_as_of = NULL, erased_at = coalesce(erased_at, $2)
WHERE customer_id = $1
"""
FORGET_WAITING: Final = """
DELETE FROM outgoing
WHERE chat_id = ANY ($2::bigint[]) OR appeal_id IN (SELECT id FROM appeals WHERE customer_id = $1)
"""
FORGET_APPEALS: Final = "UPDATE appeals SET text = NULL, answer = NULL, chat_id = NULL WHERE customer_id = $1"
FORGET_COMMENTS: Final = "UPDATE reviews SET comment = NULL WHERE customer_id = $1"
FORGET_CHATS: Final = """
DELETE FROM chats
WHERE chat_id = ANY ($1::bigint[]) AND NOT EXISTS (SELECT FROM customers WHERE customers.chat_id = chats.chat_id)
"""
FORGET_STRANGERS: Final = """
WITH strangers AS (
    DELETE FROM chats WHERE chat_id = ANY (ARRAY(
        SELECT chat_id FROM chats
        WHERE seen_at < $1 AND NOT EXISTS (SELECT FROM customers WHERE customers.chat_id = chats.chat_id)
        ORDER BY chat_id LIMIT $2 FOR UPDATE SKIP LOCKED
    ))
    RETURNING chat_id
), silenced AS (
    UPDATE appeals SET text = NULL, answer = NULL, chat_id = NULL
    FROM strangers WHERE appeals.chat_id = strangers.chat_id AND appeals.customer_id IS NULL
)
SELECT count(*) FROM strangers
"""
FORGET_UPDATES: Final = """
WITH gone AS (
    DELETE FROM telegram_updates WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM telegram_updates WHERE handled_at < $1 LIMIT $2
    ))
    RETURNING 1
)
SELECT count(*) FROM gone
"""


async def forget_customer(tx: Transaction, erased: ContactErased) -> None:
    """Remove the chat and every text; scores and moments stay, of a customer whom nobody can name any more."""
    customer_id: UUID = erased.customer_id
    await tx.sql(LOCK_CHATS, customer_id)
    await tx.sql(MAKE, customer_id)
    ((chat_id, stopped_chat_id),) = await tx.sql(LOCK, customer_id)
    chats = [each for each in (chat_id, stopped_chat_id) if each is not None]
    await tx.sql(ERASE, customer_id, tx.now)
    await tx.sql(FORGET_WAITING, customer_id, chats)
    await tx.sql(FORGET_APPEALS, customer_id)
    await tx.sql(FORGET_COMMENTS, customer_id)
    await tx.sql(FORGET_CHATS, chats)
    if chat_id is not None:
        tx.say(TelegramUnlinked(customer_id=customer_id, unlinked_at=tx.now), cause=erased)


async def forget_strangers(tx: Transaction) -> bool:
    """A job: a bounded number of quiet chats that are nobody's; True where more may be left."""
    ((forgotten,),) = await tx.sql(FORGET_STRANGERS, tx.now - STRANGER_KEPT, PIECE_ROWS)
    return bool(forgotten == PIECE_ROWS)


async def forget_updates(tx: Transaction) -> bool:
    """A job: a bounded number of update ids that can not come again; True where more may be left."""
    ((forgotten,),) = await tx.sql(FORGET_UPDATES, tx.now - UPDATE_KEPT, PIECE_ROWS)
    return bool(forgotten == PIECE_ROWS)
