"""The dispatcher: sends what waits. Any number of them work side by side.

It claims in one transaction, sends outside any transaction, records in another one. A process that is killed in
between leaves the message `sending`; when its lease has run out it is `unknown`, and nobody sends it again by itself.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from prometheus_client import Counter, Histogram

from chassis.database import Database, utc_now
from chassis.failpoints import failpoint
from chassis.retrying import may_pass, trying
from chassis.tracebacks import without_messages
from chassis.tracing import trace_id, traced
from chassis.transaction import Transaction
from services.messaging.claims import Claimed, Pace, another_slot, claim, give_up_lost
from services.messaging.outcomes import (
    PAUSE_FIRST_S,
    Held,
    NotSent,
    Outcome,
    Refused,
    Sent,
    Throttled,
    Unknown,
    record,
)
from services.messaging.routes import TELEGRAM
from services.messaging.settings import MessagingSettings, messaging_settings

if TYPE_CHECKING:
    from services.messaging.telegram import Telegram

log = structlog.get_logger()

SERVICE: Final = "messaging"
UNDER_WAY_MAX: Final = 30
"""Messages a process has under way at once: as many become unknown at most when the provider falls silent."""
CONNECTIONS_MAX: Final = 3
"""Connections of the pool that sending may take, so that the worker and the API always find one."""
LATE_MAX_S: Final = 0.1
"""How long after its slot a message may still go. A process that stood still would send at once all that was due
meanwhile, above the limit a second."""
LEAD_MAX_S: Final = 2.0
STOP_GRACE_S: Final = 5.0
"""How long a stopping dispatcher waits for answers that are due; what has none by then becomes unknown."""

NAMES: Final[Mapping[type[Outcome], str]] = {
    Sent: "sent",
    Refused: "refused",
    Throttled: "throttled",
    NotSent: "not_sent",
    Unknown: "unknown",
    Held: "held",
}
sends = Counter("kopilka_sends_total", "Attempts to send a message, by what became of them.", ["channel", "outcome"])
slots_missed = Counter("kopilka_slots_missed_total", "Messages that were too late for their slot and got another.")
wait_s = Histogram(
    "kopilka_message_wait_seconds",
    "From a message's acceptance until its provider took it.",
    ["channel"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400),
)


async def dispatch(database: Database, stop: asyncio.Event) -> None:
    """The service's companion: a dispatcher by the settings of this process."""
    rules = messaging_settings()
    async with await asyncio.to_thread(_telegram, rules) as telegram:
        await Dispatcher(database, telegram, rules).run(stop)


def _telegram(rules: MessagingSettings) -> "Telegram":
    """Imported here, beside the event loop: aiogram takes seconds, and a worker that is silent so long is replaced."""
    from services.messaging.telegram import Telegram  # noqa: PLC0415

    return Telegram(rules.bot_api, rules.bot_token, timeout_s=rules.telegram_timeout_s)


class Dispatcher:
    """Sends by one bot what is due. Woken by every commit of this process that says something; looks by itself too."""

    def __init__(self, database: Database, telegram: "Telegram", rules: MessagingSettings) -> None:
        self.database = database
        self.telegram = telegram
        self.rules = rules
        self.pace = Pace(
            interval=timedelta(seconds=1 / rules.telegram_messages_per_s),
            lease=timedelta(seconds=rules.telegram_lease_s),
        )
        self._stop = asyncio.Event()
        self._awake = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._connections = asyncio.Semaphore(CONNECTIONS_MAX)
        self._held_until = 0.0
        self._lead_s = 0.0
        database.on_commit_of_words(self._awake.set)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`; then what was claimed and not yet sent goes back, and due answers are waited for."""
        self._stop = stop
        waiter = asyncio.create_task(stop.wait())
        waiter.add_done_callback(lambda _: self._awake.set())
        try:
            while not stop.is_set():
                self._awake.clear()
                if not await self._claim_and_start():
                    await self._idle(self.rules.dispatch_poll_s)
        except Exception as error:
            if not (stop.is_set() and may_pass(error)):
                raise
        finally:
            waiter.cancel()
            await self._finish()

    async def _claim_and_start(self) -> bool:
        """One round; whether there may be more to do at once.

        Where a claim's commit has failed nobody knows whether it took place: what it claimed is put back first.
        """
        room = UNDER_WAY_MAX - len(self._under_way)
        if room <= 0:
            return False
        claimed: list[Claimed] = []
        async for attempt in trying(SERVICE, "claim", gives_up=self._stop.is_set):
            with attempt:
                async with self._giving_slots() as (tx, offset_s):
                    for message in claimed:
                        await self._record_in(tx, message, Held())
                    lost = await give_up_lost(tx)
                    claimed, more = await claim(tx, self.pace, most=room, lead=self._lead)
        failpoint("after_claim_commit")
        if lost:
            log.warning("messages_lost", channel=TELEGRAM, messages=lost)
        for message in claimed:
            self._start(self._deliver(message, offset_s))
        return more

    @contextlib.asynccontextmanager
    async def _giving_slots(self) -> AsyncIterator[tuple[Transaction, float]]:
        """A transaction, and what turns its moments to the monotonic clock, which nobody may set meanwhile.

        How long it takes is where the slots of the next one begin, or else a slow database would make each too late.
        """
        begun_s = time.monotonic()
        async with self.database.transaction() as tx:
            yield tx, begun_s - tx.now.timestamp()
        self._lead_s = min(LEAD_MAX_S, time.monotonic() - begun_s)

    @property
    def _lead(self) -> timedelta:
        return timedelta(seconds=self._lead_s)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, message: Claimed, offset_s: float) -> None:
        """Send one message at its slot and record the outcome, under the trace of what led to it."""
        names = {
            "message_id": str(message.id),
            "customer_id": str(message.customer_id),
            "trace_id": trace_id(message.traceparent),
        }
        with traced("send telegram", message.traceparent), structlog.contextvars.bound_contextvars(**names):
            try:
                outcome = await self._send(message, offset_s)
                failpoint("between_send_and_record")
                await self._record(message, outcome)
            except Exception as error:
                if not (self._stop.is_set() and may_pass(error)):
                    log.error("message_not_recorded", failure=without_messages(error))

    async def _send(self, message: Claimed, offset_s: float) -> Outcome:
        """Send in the slot, unless by then the process stops, the channel is in trouble or the lease is over."""
        slot_s = message.slot.timestamp() + offset_s
        lease_s = message.lease_until.timestamp() + offset_s
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), max(0.0, slot_s - time.monotonic()))
            now_s = time.monotonic()
            if self._stop.is_set() or now_s < self._held_until or now_s >= lease_s:
                return Held()
            if now_s <= slot_s + LATE_MAX_S:
                break
            slot_s = await self._another_slot()
        outcome = await self.telegram.send(message.chat_id, message.text, message.buttons)
        if isinstance(outcome, NotSent | Unknown):
            self._held_until = time.monotonic() + PAUSE_FIRST_S
        return outcome

    async def _another_slot(self) -> float:
        """By the monotonic clock."""
        async with self._connections:
            async for attempt in trying(SERVICE, "exchange a slot", gives_up=self._stop.is_set):
                with attempt:
                    async with self._giving_slots() as (tx, offset_s):
                        slot = await another_slot(tx, self.pace, lead=self._lead)
        slots_missed.inc()
        return slot.timestamp() + offset_s

    async def _record(self, message: Claimed, outcome: Outcome) -> None:
        """Write it down, however long the database takes; a stopping process gives up and leaves it to the lease."""
        async with self._connections:
            async for attempt in trying(SERVICE, "record", gives_up=self._stop.is_set):
                with attempt:
                    async with self.database.transaction() as tx:
                        await self._record_in(tx, message, outcome)
        self._note(message, outcome)

    async def _record_in(self, tx: Transaction, message: Claimed, outcome: Outcome) -> None:
        chat_interval = timedelta(seconds=self.rules.telegram_chat_interval_s)
        await record(tx, message, outcome, chat_interval=chat_interval)

    def _note(self, message: Claimed, outcome: Outcome) -> None:
        named = NAMES[type(outcome)]
        sends.labels(TELEGRAM, named).inc()
        facts = {"channel": TELEGRAM, "template": message.template, "attempt": message.attempts}
        if (reason := getattr(outcome, "reason", None)) is not None:
            facts["reason"] = reason
        if isinstance(outcome, Sent):
            wait_s.labels(TELEGRAM).observe(_seconds_since(message.accepted_at))
            log.info("message_sent", **facts)
        elif isinstance(outcome, Held):
            log.debug("message_held", **facts)
        else:
            log.warning(f"message_{named}", **facts)

    async def _idle(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._awake.wait(), timeout_s)

    async def _finish(self) -> None:
        """Wait for what is under way, within the grace; a request that is cut off then is unknown after its lease."""
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=STOP_GRACE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _seconds_since(moment: datetime) -> float:
    return max(0.0, (utc_now() - moment).total_seconds())
