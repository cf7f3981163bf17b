"""Telegram: sending one text through the Bot API, and telling apart what its answers mean.

The only question that matters is whether the message may have been taken. It surely was not where the provider says
so, or where nothing of the request was written; everything else is unknown.
"""

import contextvars
from collections.abc import Sequence
from types import SimpleNamespace, TracebackType
from typing import Any, Final, Self

import aiohttp

from chassis.models_on_demand import models_on_demand
from services.messaging.outcomes import NotSent, Outcome, Refused, Sent, Throttled, Unknown

with models_on_demand():
    from aiogram import Bot
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer
    from aiogram.exceptions import (
        AiogramError,
        TelegramAPIError,
        TelegramBadRequest,
        TelegramConflictError,
        TelegramEntityTooLarge,
        TelegramForbiddenError,
        TelegramMigrateToChat,
        TelegramNetworkError,
        TelegramNotFound,
        TelegramRetryAfter,
        TelegramUnauthorizedError,
    )
    from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

KEEP_ALIVE_S: Final = 2
"""An idle connection is ours to close before the server does: a request that meets a closing one is unknown."""

CHAT_IS_GONE: Final = ("chat not found", "user not found", "peer_id_invalid", "user_id_invalid")
"""Telegram's words, in a 400, for a chat that cannot be written to (they have no codes of their own)."""

_writing: contextvars.ContextVar["_Request | None"] = contextvars.ContextVar("telegram_request", default=None)


class _Request:
    """Whether anything of a request may have left this machine."""

    def __init__(self) -> None:
        self.may_have_left = False


class _Session(AiohttpSession):
    """aiogram's session that notes when a request begins to be written: aiogram's errors do not tell."""

    def __init__(self, api: TelegramAPIServer, timeout_s: float) -> None:
        super().__init__(api=api, timeout=timeout_s)
        self._connector_init["keepalive_timeout"] = KEEP_ALIVE_S

    async def create_session(self) -> aiohttp.ClientSession:
        session = await super().create_session()
        if not session.trace_configs:
            watch = aiohttp.TraceConfig()
            watch.on_request_headers_sent.append(_note_departure)
            watch.freeze()
            session.trace_configs.append(watch)
        return session


async def _note_departure(_session: aiohttp.ClientSession, _context: SimpleNamespace, _headers: Any) -> None:
    """Called right before the first byte is handed to the connection."""
    request = _writing.get()
    if request is not None:
        request.may_have_left = True


class Telegram:
    """One bot. `async with Telegram(api, token, timeout_s=10) as telegram`; several messages may be sent at once."""

    def __init__(self, api: str, token: str, *, timeout_s: float) -> None:
        self._bot = Bot(token, session=_Session(TelegramAPIServer.from_base(api), timeout_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._bot.session.close()

    async def send(self, chat_id: int, text: str, buttons: Sequence[Sequence[dict[str, str]]]) -> Outcome:
        """Send plain text with rows of buttons; raises nothing but its own cancellation."""
        request = _Request()
        _writing.set(request)
        try:
            message = await self._bot.send_message(chat_id, text, reply_markup=_keyboard(buttons))
        except (AiogramError, aiohttp.ClientError, OSError, ValueError) as error:
            return _outcome(error, request)
        return Sent(str(message.message_id))


def _keyboard(buttons: Sequence[Sequence[dict[str, str]]]) -> InlineKeyboardMarkup | None:
    if not buttons:
        return None
    return InlineKeyboardMarkup(
        inline_keyboard=[
            [InlineKeyboardButton(text=button["label"], callback_data=button["data"]) for button in row]
            for row in buttons
        ]
    )


def _outcome(error: Exception, request: _Request) -> Outcome:
    """What the error says of the message; unknown, unless it is certain."""
    refusal = _refusal(error)
    if refusal is not None:
        return refusal
    if not request.may_have_left:
        return NotSent("not_reached")
    if isinstance(error, TelegramNetworkError):
        return Unknown("timeout" if isinstance(error.__cause__, TimeoutError) else "connection_lost")
    return Unknown("server_error" if isinstance(error, TelegramAPIError) else "unreadable_answer")


def _refusal(error: Exception) -> Outcome | None:
    """What Telegram said it did not take. A 401 or 404 is about our token: nothing is taken from us, so it waits."""
    refusal: Outcome | None = None
    match error:
        case TelegramRetryAfter():
            refusal = Throttled(float(error.retry_after))
        case TelegramForbiddenError():
            gone = "deactivated" in error.message.lower()
            refusal = Refused("account_deleted" if gone else "bot_blocked", contact_is_bad=True)
        case TelegramMigrateToChat():
            refusal = Refused("chat_moved", contact_is_bad=True)
        case TelegramBadRequest():
            gone = any(words in error.message.lower() for words in CHAT_IS_GONE)
            refusal = Refused("chat_not_found" if gone else "refused", contact_is_bad=gone)
        case TelegramEntityTooLarge() | TelegramConflictError():
            refusal = Refused("refused")
        case TelegramUnauthorizedError() | TelegramNotFound():
            refusal = NotSent("token_refused")
    return refusal
