"""Persons with Telegram on a phone, and their chats with the one bot."""

import hashlib
from collections.abc import Container
from typing import Any, Final

from pydantic import BaseModel, Field

KEPT_MESSAGES: Final = 300
"""Of each chat; older ones are forgotten, as a phone would page them out."""
IDS: Final = range(6_000_000_000, 7_000_000_000)

Json = dict[str, Any]


class Person(BaseModel):
    """Somebody with Telegram on a phone; the id is also that of the chat with the bot."""

    id: int
    first_name: str
    last_name: str | None = None
    phone: str
    language_code: str = "ru"


class Message(BaseModel):
    """One message of a chat, by the bot or the person."""

    message_id: int
    from_bot: bool
    date: int
    """Unix time, seconds."""
    text: str | None = None
    contact: Json | None = None
    """Telegram's Contact."""
    buttons: list[list[Json]] = []
    """Inline keyboard: rows of Telegram's InlineKeyboardButton."""
    edit_date: int | None = None

    def shows(self, data: str) -> bool:
        """Whether a button below the message carries this data."""
        return any(button.get("callback_data") == data for row in self.buttons for button in row)


class Chat(BaseModel):
    """A person's chat with the bot."""

    person: Person
    started: bool = False
    """Whether the person ever wrote; before that the bot cannot write."""
    blocked: bool = False
    keyboard: Json | None = None
    """Telegram's ReplyKeyboardMarkup that the person sees just now."""
    read_up_to: int = 0
    last_message_id: int = 0
    messages: dict[int, Message] = Field({}, exclude=True)

    @property
    def unread(self) -> int:
        return sum(1 for each in self.messages.values() if each.from_bot and each.message_id > self.read_up_to)

    @property
    def last_message(self) -> Message | None:
        return self.messages.get(max(self.messages, default=0))

    def keep(self, message: Message) -> None:
        """Add the message, or take its new wording; the oldest one goes when there are too many."""
        self.messages[message.message_id] = message
        if len(self.messages) > KEPT_MESSAGES:
            del self.messages[min(self.messages)]


def id_of_phone(phone: str, taken: Container[int]) -> int:
    """The same id for the same phone, even after the sandbox was wiped: nobody inherits a stranger's chat."""
    digest = int.from_bytes(hashlib.blake2b(phone.encode(), digest_size=8).digest(), "big")
    return next(found for step in range(len(IDS)) if (found := IDS[(digest + step) % len(IDS)]) not in taken)
