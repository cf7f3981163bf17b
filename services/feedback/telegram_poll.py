"""The bot's long poll. One process at a time takes updates, each in a transaction of its own, each once.

The id of an update is written in the transaction of its effects, and Telegram is asked for what comes after it only
when that is committed: a kill in between brings the update again, and its id says that it is done. A process that
starts asks without an offset, since Telegram may begin anew with lower ids after a quiet week.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final, TypeVar

import structlog
from prometheus_client import Counter, Gauge
from pydantic import ValidationError

from chassis.database import Database
from chassis.failpoints import failpoint
from chassis.models_on_demand import models_on_demand
from chassis.retrying import may_pass, trying
from chassis.tracebacks import without_messages
from chassis.tracing import trace_id, traced
from contracts.fields import Language
from services.feedback import dialogue
from services.feedback.chats import Turn, open_turn
from services.feedback.leadership import Leadership, candidate
from services.feedback.settings import FeedbackSettings, feedback_settings
from services.feedback.telegram_sending import send_due
from services.feedback.telegram_updates import UPDATES, act_on, chat_and_language
from services.feedback.texts import COMMANDS, words

with models_on_demand():
    from aiogram import Bot
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer
    from aiogram.exceptions import (
        AiogramError,
        ClientDecodeError,
        TelegramNetworkError,
        TelegramRetryAfter,
    )
    from aiogram.methods import GetUpdates
    from aiogram.types import BotCommand, Update

log = structlog.get_logger()
T = TypeVar("T")
Taken = tuple[int, Update | None]
"""The id of an update, and what it says; None where it could not be read."""
MENUS: Final[Sequence[tuple[Language, str | None]]] = (("en", None), ("ru", "ru"))
"""The bot's menu by the language of the person's app; English for all others."""

SERVICE: Final = "feedback"
LOCK: Final = "telegram"
LOOK_AGAIN_S: Final = 0.5
"""How often an idle process looks for lines to send that another one wrote, and whether the bot is free to lead."""
PAUSE_MAX_S: Final = 5.0
ANSWER_GRACE_S: Final = 10

CLAIM: Final = """
INSERT INTO telegram_updates (bot_id, update_id, handled_at) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING RETURNING update_id
"""
NOTE_FAILURE: Final = """
INSERT INTO telegram_updates (bot_id, update_id, handled_at, failure) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""

updates = Counter("kopilka_bot_updates_total", "Updates of the bot, by what became of them.", ["outcome"])
leads = Gauge("kopilka_bot_leads", "1 while this process is the one that takes the bot's updates.")


async def poll(database: Database, stop: asyncio.Event) -> None:
    """The service's companion: the bot by the settings of this process."""
    await Poller(database, feedback_settings()).run(stop)


class Poller:
    """Leads the bot whenever nobody else does: takes updates and sends what waits."""

    def __init__(self, database: Database, rules: FeedbackSettings) -> None:
        self.database = database
        self.rules = rules
        self._to_send = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; the update in hand and the lines on their way are finished."""
        self._stop = stop
        session = AiohttpSession(api=TelegramAPIServer.from_base(self.rules.bot_api))
        async with Bot(self.rules.bot_token, session=session) as self._bot:
            while not stop.is_set():
                try:
                    async for attempt in trying(SERVICE, "telegram", gives_up=stop.is_set):
                        with attempt:
                            await self._lead_when_free()
                except Exception as error:
                    if not (stop.is_set() and may_pass(error)):
                        raise

    async def _lead_when_free(self) -> None:
        async with candidate(self.database, LOCK, lease_s=self.rules.telegram_poll_lease_s) as leadership:
            while not await leadership.is_ours():
                await _wait(self._stop, LOOK_AGAIN_S)
                if self._stop.is_set():
                    return
            log.info("bot_leads", bot=self._bot.id)
            leads.set(1)
            try:
                await self._lead(leadership)
            except BaseExceptionGroup as group:
                raise _first(group) from None
            finally:
                leads.set(0)

    async def _lead(self, leadership: Leadership) -> None:
        """Work until the stop. Once the lock is lost everything is dropped at once: it is another process' by now."""
        async with asyncio.TaskGroup() as keeping:
            keep = keeping.create_task(leadership.keep())
            async with asyncio.TaskGroup() as self._working:
                self._working.create_task(self._take_updates())
                self._working.create_task(self._send_lines())
            keep.cancel()

    # Taking updates.

    async def _take_updates(self) -> None:
        offset: int | None = None
        is_introduced = False
        failures = 0
        while not self._stop.is_set():
            try:
                if not is_introduced:
                    await self._introduce()
                    is_introduced = True
                taken = await self._unless_stopped(self._get_updates(offset))
                failures = 0
            except AiogramError as trouble:
                failures += 1
                await self._pause(trouble, failures)
                continue
            for update_id, update in taken or ():
                await self._handle(update_id, update)
                failpoint("between_update_and_offset")
                offset = update_id + 1

    async def _introduce(self) -> None:
        """The bot's menu; and no webhook, with which Telegram refuses to be polled."""
        await self._bot.delete_webhook(request_timeout=ANSWER_GRACE_S)
        for language, code in MENUS:
            texts = words(language)
            menu = [BotCommand(command=name, description=texts.gettext(what)) for name, what in COMMANDS.items()]
            await self._bot.set_my_commands(menu, language_code=code, request_timeout=ANSWER_GRACE_S)

    async def _get_updates(self, offset: int | None) -> list[Taken]:
        """One that aiogram cannot read must not stop those behind it."""
        try:
            found = await self._bot.get_updates(
                offset=offset,
                timeout=self.rules.telegram_poll_s,
                allowed_updates=UPDATES,
                request_timeout=self.rules.telegram_poll_s + ANSWER_GRACE_S,
            )
        except ClientDecodeError as unreadable:
            return [_read(raw, self._bot) for raw in _raw_updates(unreadable)]
        return [(update.update_id, update) for update in found]

    async def _handle(self, update_id: int, update: Update | None) -> None:
        """Do what the update asks for, once. A fault of our own costs this update alone, and the person is told."""
        with _new_trace("telegram update"), structlog.contextvars.bound_contextvars(update_id=update_id):
            try:
                async for attempt in trying(SERVICE, "update", gives_up=self._stop.is_set):
                    with attempt:
                        turn = await self._in_one_transaction(update_id, update)
            except Exception as error:
                if may_pass(error):
                    raise
                updates.labels("failed").inc()
                log.error("update_failed", failure=without_messages(error))
                await self._give_up(update_id, update, error)
                return
        self._to_send.set()
        if update is not None and update.callback_query is not None:
            self._working.create_task(self._toast(update.callback_query.id, turn.toast if turn is not None else None))

    async def _in_one_transaction(self, update_id: int, update: Update | None) -> Turn | None:
        turn = None
        async with self.database.transaction() as tx:
            is_new = bool(await tx.sql(CLAIM, self._bot.id, update_id, tx.now))
            if is_new and update is not None:
                turn = await act_on(self._bot, update, tx)
        updates.labels("handled" if is_new else "repeated").inc()
        return turn

    async def _give_up(self, update_id: int, update: Update | None, error: Exception) -> None:
        """Note the failure and tell the person; note it alone where telling is what fails."""
        for tells in (True, False):
            with contextlib.suppress(*(() if not tells else (Exception,))):
                async for attempt in trying(SERVICE, "failed update", gives_up=self._stop.is_set):
                    with attempt:
                        await self._note_failure(update_id, update if tells else None, error)
                return

    async def _note_failure(self, update_id: int, update: Update | None, error: Exception) -> None:
        async with self.database.transaction() as tx:
            await tx.sql(NOTE_FAILURE, self._bot.id, update_id, tx.now, "\n".join(without_messages(error)))
            place = chat_and_language(update) if update is not None else None
            if place is not None:
                await dialogue.failed(await open_turn(tx, *place))

    async def _toast(self, query_id: str, text: str | None) -> None:
        """End the waiting that the person sees after a press. Too late is no harm."""
        try:
            await self._bot.answer_callback_query(query_id, text=text, request_timeout=ANSWER_GRACE_S)
        except AiogramError as trouble:
            log.info("toast_not_shown", why=type(trouble).__name__)

    # Sending lines.

    async def _send_lines(self) -> None:
        while not self._stop.is_set():
            self._to_send.clear()
            was_busy = False
            async for attempt in trying(SERVICE, "send", gives_up=self._stop.is_set):
                with attempt:
                    was_busy = await send_due(self.database, self._bot)
            if not was_busy:
                await _wait(self._to_send, LOOK_AGAIN_S)

    # Waiting.

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` gives; None where it was dropped because of the stop."""
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            working.cancel()
            stopping.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    async def _pause(self, trouble: AiogramError, failures: int) -> None:
        """Patience with Telegram: as long as it asks for, else ever longer."""
        log.warning("bot_cannot_poll", why=type(trouble).__name__, tries=failures)
        pause_s = min(PAUSE_MAX_S, 0.1 * 2.0**failures) * random.uniform(0.5, 1)  # noqa: S311
        if isinstance(trouble, TelegramRetryAfter):
            pause_s = float(trouble.retry_after)
        await _wait(self._stop, pause_s)


def _raw_updates(unreadable: ClientDecodeError) -> list[Any]:
    """The updates of an answer of which aiogram could not read all; raises the error where it is no such answer."""
    result = unreadable.data.get("result") if isinstance(unreadable.data, dict) else None
    if not isinstance(result, list) or not all(isinstance(raw, dict) and "update_id" in raw for raw in result):
        raise TelegramNetworkError(method=GetUpdates(), message="unreadable answer") from unreadable
    return result


def _read(raw: dict[str, Any], bot: Bot) -> Taken:
    try:
        return raw["update_id"], Update.model_validate(raw, context={"bot": bot})
    except ValidationError as error:
        log.error("update_unreadable", update_id=raw["update_id"], faults=error.error_count())
        return raw["update_id"], None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the work; the others followed from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)


@contextlib.contextmanager
def _new_trace(name: str) -> Iterator[None]:
    """What this update says carries a trace of its own."""
    traceparent = f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-00"
    with traced(name, traceparent), structlog.contextvars.bound_contextvars(trace_id=trace_id(traceparent)):
        yield
