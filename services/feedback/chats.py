"""Whose turn it is: the chat that a person writes in, locked, with the customer it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from gettext import NullTranslations
from typing import Final, cast
from uuid import UUID

from chassis.transaction import Transaction
from contracts.fields import Language
from services.feedback import outgoing, texts
from services.feedback.balances import WholePoints

OPEN: Final = """
INSERT INTO chats (chat_id, language, seen_at) VALUES ($1, $2, $3)
ON CONFLICT (chat_id) DO UPDATE SET
    language = coalesce(excluded.language, chats.language), seen_at = excluded.seen_at, blocked_at = NULL
RETURNING language, comment_on, comment_until
"""
OWNER: Final = """
SELECT customer_id, language, balances FROM customers WHERE chat_id = $1 ORDER BY linked_at DESC LIMIT 1 FOR UPDATE
"""
SET_BLOCKED: Final = """
INSERT INTO chats (chat_id, seen_at, blocked_at) VALUES ($1, $2, $3)
ON CONFLICT (chat_id) DO UPDATE SET seen_at = excluded.seen_at, blocked_at = excluded.blocked_at
"""
AWAIT_COMMENT: Final = "UPDATE chats SET comment_on = $2, comment_until = $3 WHERE chat_id = $1"


@dataclass
class Turn:
    """One thing that a person did in the bot's chat, and what the bot does about it, in one transaction."""

    tx: Transaction
    chat_id: int
    language: Language
    customer_id: UUID | None
    """Whose chat it is; None where it is not linked."""
    balances: Mapping[str, WholePoints] | None
    comment_on: UUID | None
    """The review that a text belongs to just now."""
    toast: str | None = None
    """Shown for a moment after a press. Sent once after the commit, since Telegram takes it for seconds only."""

    @property
    def words(self) -> NullTranslations:
        return texts.words(self.language)

    async def reply(self, text: str, *, take_keyboard: bool = False) -> None:
        """Write into the chat."""
        await outgoing.write(self.tx, self.chat_id, text, take_keyboard=take_keyboard)

    async def ask_contact(self, text: str) -> None:
        """Write into the chat, with the button that shares the person's own number."""
        label = self.words.gettext("Share my number")
        await outgoing.write(self.tx, self.chat_id, text, ask_contact=label)


async def open_turn(tx: Transaction, chat_id: int, language_code: str | None) -> Turn:
    """Lock the chat and the customer that it belongs to."""
    ((spoken, comment_on, comment_until),) = await tx.sql(OPEN, chat_id, texts.language_of(language_code), tx.now)
    owner = next(iter(await tx.sql(OWNER, chat_id)), None)
    language = spoken or (owner.language if owner is not None else "ru")
    return Turn(
        tx=tx,
        chat_id=chat_id,
        language=cast(Language, language),
        customer_id=owner.customer_id if owner is not None else None,
        balances=owner.balances if owner is not None else None,
        comment_on=comment_on if comment_until is not None and tx.now < comment_until else None,
    )


async def await_comment(turn: Turn, review_id: UUID | None, until: datetime | None) -> None:
    """The next text belongs to this review, or to none."""
    await turn.tx.sql(AWAIT_COMMENT, turn.chat_id, review_id, until)


async def note_blocked(tx: Transaction, chat_id: int, *, is_blocked: bool) -> None:
    """The person blocked the bot, or took it back: nobody who blocked it is asked anything."""
    await tx.sql(SET_BLOCKED, chat_id, tx.now, tx.now if is_blocked else None)


def too_long(turn: Turn, most: int) -> str:
    """What the bot says to words that do not fit."""
    return turn.words.gettext("This is too long: {most} characters at most, please.").format(most=most)
