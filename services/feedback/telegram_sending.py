"""Sending what waits in `outgoing`, by the process that leads the bot: one line of a chat at a time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import structlog
from prometheus_client import Counter

from chassis.database import Database, utc_now
from chassis.failpoints import failpoint
from chassis.models_on_demand import models_on_demand
from chassis.transaction import Transaction
from services.feedback import outgoing
from services.feedback.outgoing import Line

with models_on_demand():
    from aiogram import Bot
    from aiogram.exceptions import (
        AiogramError,
        ClientDecodeError,
        TelegramBadRequest,
        TelegramForbiddenError,
        TelegramNotFound,
        TelegramRetryAfter,
        TelegramUnauthorizedError,
    )
    from aiogram.types import (
        InlineKeyboardButton,
        InlineKeyboardMarkup,
        KeyboardButton,
        ReplyKeyboardMarkup,
        ReplyKeyboardRemove,
    )

log = structlog.get_logger()

CHATS_AT_ONCE: Final = 8
LONGEST_PAUSE_S: Final = 60.0
TOKEN_PAUSE_S: Final = 30.0
UNREADABLE_MAX: Final = 3
"""So often a line is repeated to which Telegram gives an answer that cannot be read: it may have been taken."""
REQUEST_TIMEOUT_S: Final = 15
ALREADY_SO: Final = "message is not modified"

sent = Counter("kopilka_bot_lines_total", "Lines that the bot wrote into chats, by what became of them.", ["outcome"])


Settle = Callable[[Transaction], Awaitable[None]]
"""Records what became of a line."""


async def send_due(database: Database, bot: Bot) -> bool:
    """Send the first line of each chat that may go now; False where there was none."""
    async with database.reading() as tx:
        lines = await outgoing.due(tx, most=CHATS_AT_ONCE)
    await asyncio.gather(*(_send(database, bot, line) for line in lines))
    return bool(lines)


async def _send(database: Database, bot: Bot, line: Line) -> None:
    settle = await _outcome(bot, line)
    failpoint("between_send_and_settle")
    async with database.transaction() as tx:
        await settle(tx)


async def _outcome(bot: Bot, line: Line) -> Settle:
    """What is to be recorded of the line."""
    asked_at = utc_now()
    try:
        await _say(bot, line.chat_id, line.body)
    except AiogramError as error:
        return _after(error, line, asked_at)
    return _settle("delivered", lambda tx: outgoing.delivered(tx, line))


def _after(error: AiogramError, line: Line, asked_at: datetime) -> Settle:
    """Whatever may pass is tried again; what Telegram will never take is given up."""

    def give_up(*, blocked_at: datetime | None = None) -> Settle:
        return lambda tx: outgoing.undeliverable(tx, line, blocked_at=blocked_at)

    def again(by_s: float) -> Settle:
        return lambda tx: outgoing.postpone(tx, line, by_s=by_s)

    match error:
        case TelegramRetryAfter():
            settle = _settle("too_fast", again(float(error.retry_after)))
        case TelegramForbiddenError():
            settle = _settle("blocked", give_up(blocked_at=asked_at))
        case TelegramBadRequest() if ALREADY_SO in error.message:
            settle = _settle("delivered", lambda tx: outgoing.delivered(tx, line))
        case TelegramBadRequest():
            log.warning("bot_line_refused", line=line.id, why=error.message)
            settle = _settle("refused", give_up())
        case TelegramUnauthorizedError() | TelegramNotFound():
            log.error("bot_token_refused", why=type(error).__name__)
            settle = _settle("token_refused", again(TOKEN_PAUSE_S))
        case ClientDecodeError() if line.tries >= UNREADABLE_MAX:
            settle = _settle("unreadable", give_up())
        case _:
            log.warning("bot_line_postponed", line=line.id, tries=line.tries + 1, why=type(error).__name__)
            patience_s = min(LONGEST_PAUSE_S, 2.0**line.tries) * random.uniform(0.8, 1.2)  # noqa: S311
            settle = _settle("trouble", again(patience_s))
    return settle


def _settle(outcome: str, work: Settle) -> Settle:
    async def settle(tx: Transaction) -> None:
        await work(tx)
        sent.labels(outcome).inc()

    return settle


async def _say(bot: Bot, chat_id: int, body: dict[str, Any]) -> None:
    if "message_id" in body:
        await bot.edit_message_reply_markup(
            chat_id=chat_id,
            message_id=body["message_id"],
            reply_markup=_buttons(body["buttons"]),
            request_timeout=REQUEST_TIMEOUT_S,
        )
        return
    await bot.send_message(chat_id, body["text"], reply_markup=_keyboard(body), request_timeout=REQUEST_TIMEOUT_S)


def _buttons(rows: list[list[dict[str, str]]]) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup(
        inline_keyboard=[
            [InlineKeyboardButton(text=button["label"], callback_data=button["data"]) for button in row] for row in rows
        ]
    )


def _keyboard(body: dict[str, Any]) -> ReplyKeyboardMarkup | ReplyKeyboardRemove | None:
    if (label := body.get("ask_contact")) is not None:
        button = KeyboardButton(text=label, request_contact=True)
        return ReplyKeyboardMarkup(keyboard=[[button]], resize_keyboard=True)
    return ReplyKeyboardRemove() if body.get("take_keyboard") else None
