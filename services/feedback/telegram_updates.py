"""What Telegram says happened, as the bot's dialogue takes it. aiogram's filters choose; `dialogue.py` acts."""

import re
from typing import Final
from uuid import UUID

from chassis.models_on_demand import models_on_demand
from chassis.transaction import Transaction
from services.feedback import dialogue, linking, reviews
from services.feedback.chats import Turn, note_blocked, open_turn
from services.feedback.linking import SharedContact

with models_on_demand():
    from aiogram import Bot, Dispatcher, F
    from aiogram.filters import Command, CommandStart
    from aiogram.types import CallbackQuery, ChatMemberUpdated, Message, Update, User

UPDATES: Final = ["message", "callback_query", "my_chat_member"]
"""The kinds that the bot asks Telegram for."""
SCORE: Final = re.compile(r"nps:([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}):(10|[0-9])", re.ASCII)

dispatcher = Dispatcher(disable_fsm=True)
IN_PRIVATE: Final = F.chat.type == "private"
"""The bot has no business in groups."""


def chat_and_language(update: Update) -> tuple[int, str | None] | None:
    """The private chat where the update happened, and the person's language code; None where there is none."""
    if update.message is not None and update.message.chat.type == "private":
        return update.message.chat.id, _language_code(update.message.from_user)
    pressed = update.callback_query
    if pressed is not None and pressed.message is not None and pressed.message.chat.type == "private":
        return pressed.message.chat.id, pressed.from_user.language_code
    return None


async def act_on(bot: Bot, update: Update, tx: Transaction) -> Turn | None:
    """Do everything that the update asks for, in its transaction; gives the turn, where there is a chat."""
    place = chat_and_language(update)
    turn = await open_turn(tx, *place) if place is not None else None
    await dispatcher.feed_update(bot, update, tx=tx, turn=turn)
    return turn


@dispatcher.my_chat_member(IN_PRIVATE)
async def blocked_or_taken_back(change: ChatMemberUpdated, tx: Transaction) -> None:
    await note_blocked(tx, change.chat.id, is_blocked=change.new_chat_member.status == "kicked")


@dispatcher.callback_query(F.data.regexp(SCORE, mode="fullmatch"), F.message.chat.type == "private")
async def score_pressed(query: CallbackQuery, turn: Turn) -> None:
    match = SCORE.fullmatch(query.data or "")
    assert match is not None and query.message is not None
    await reviews.press_score(turn, UUID(match[1]), int(match[2]), query.message.message_id)


@dispatcher.message(IN_PRIVATE, CommandStart())
async def started(_: Message, turn: Turn) -> None:
    await dialogue.start(turn)


@dispatcher.message(IN_PRIVATE, Command("balance"))
async def balance_asked(_: Message, turn: Turn) -> None:
    await dialogue.balance(turn)


@dispatcher.message(IN_PRIVATE, Command("stop"))
async def stopped(_: Message, turn: Turn) -> None:
    await linking.stop(turn)


@dispatcher.message(IN_PRIVATE, F.text.startswith("/"))
async def helped(_: Message, turn: Turn) -> None:
    await dialogue.tell_what_it_can(turn)


@dispatcher.message(IN_PRIVATE, F.contact)
async def contact_shared(message: Message, turn: Turn) -> None:
    contact, sender = message.contact, message.from_user
    assert contact is not None
    shared = SharedContact(contact.phone_number, contact.user_id, contact.first_name, contact.last_name)
    await linking.ask_to_link(turn, shared, sender.id if sender is not None else turn.chat_id)


@dispatcher.message(IN_PRIVATE, F.text)
async def written(message: Message, turn: Turn) -> None:
    await dialogue.text(turn, message.text or "")


@dispatcher.message(IN_PRIVATE)
async def sent_something_else(_: Message, turn: Turn) -> None:
    await dialogue.no_words(turn)


def _language_code(user: User | None) -> str | None:
    return user.language_code if user is not None else None
