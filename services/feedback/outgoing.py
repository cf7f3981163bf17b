"""What the bot writes into chats: kept in the transaction that it belongs to, sent after its commit, in order per chat.

Not best effort after the commit: the same way carries what the worker finds out ("linked"), what an operator answers
and what the poller replies, and a person who was left without a word would not know whether to try again. A kill
between Telegram's acceptance and the deletion of the row repeats a line of the conversation, which harms less than
its loss. (Campaigns and receipts go through messaging, which never repeats.)
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from chassis.transaction import Transaction

WRITE: Final = "INSERT INTO outgoing (chat_id, body, appeal_id, due_at) VALUES ($1, $2, $3, $4)"
DUE: Final = """
SELECT id, chat_id, body, appeal_id, tries FROM outgoing
WHERE due_at <= $1
  AND NOT EXISTS (SELECT FROM outgoing AS earlier WHERE earlier.chat_id = outgoing.chat_id AND earlier.id < outgoing.id)
ORDER BY id LIMIT $2
"""
SETTLE: Final = "DELETE FROM outgoing WHERE id = $1"
POSTPONE: Final = "UPDATE outgoing SET due_at = $2, tries = tries + 1 WHERE id = $1"
NOTE_DELIVERY: Final = "UPDATE appeals SET delivery = $2, delivery_at = $3 WHERE id = $1"
NOTE_BLOCK: Final = """
UPDATE chats SET blocked_at = coalesce(blocked_at, $2) WHERE chat_id = $1 AND seen_at <= $3
"""
"""A refusal says how it was when it was asked for: who has written or unblocked the bot since is there again."""

Line = Any
"""A row of `outgoing`: id, chat_id, body, appeal_id, tries."""
Buttons = Sequence[Sequence[dict[str, str]]]
"""Rows of `{"label": …, "data": …}`."""


async def write(
    tx: Transaction,
    chat_id: int,
    text: str,
    *,
    ask_contact: str | None = None,
    take_keyboard: bool = False,
    appeal_id: UUID | None = None,
) -> None:
    """A message. `ask_contact` is the label of a button that shares the person's own number."""
    body: dict[str, object] = {"text": text}
    if ask_contact is not None:
        body["ask_contact"] = ask_contact
    if take_keyboard:
        body["take_keyboard"] = True
    await tx.sql(WRITE, chat_id, orjson.dumps(body).decode(), appeal_id, tx.now)


async def show_buttons(tx: Transaction, chat_id: int, message_id: int, buttons: Buttons) -> None:
    """Change the buttons below a message of the bot's."""
    body = orjson.dumps({"message_id": message_id, "buttons": buttons}).decode()
    await tx.sql(WRITE, chat_id, body, None, tx.now)


async def due(tx: Transaction, *, most: int) -> Sequence[Line]:
    """The first line of each chat that may go now. One process sends at a time, so that nothing is claimed."""
    return await tx.sql(DUE, tx.now, most)


async def delivered(tx: Transaction, line: Line) -> None:
    """Telegram took it."""
    await tx.sql(SETTLE, line.id)
    if line.appeal_id is not None:
        await tx.sql(NOTE_DELIVERY, line.appeal_id, "delivered", tx.now)


async def undeliverable(tx: Transaction, line: Line, *, blocked_at: datetime | None) -> None:
    """Telegram will never take it; `blocked_at` is when it was asked and answered that the person blocked the bot."""
    if blocked_at is not None:
        await tx.sql(NOTE_BLOCK, line.chat_id, tx.now, blocked_at)
    await tx.sql(SETTLE, line.id)
    if line.appeal_id is not None:
        await tx.sql(NOTE_DELIVERY, line.appeal_id, "undeliverable", tx.now)


async def postpone(tx: Transaction, line: Line, *, by_s: float) -> None:
    """Not now: try again later, and what comes after it in the chat waits as well."""
    await tx.sql(POSTPONE, line.id, tx.now + timedelta(seconds=by_s))
