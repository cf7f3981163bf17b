"""Delivering a batch to the handlers: one transaction, and no bad record costs its neighbours anything."""

import time
import traceback
from collections.abc import Sequence

import structlog

from chassis import dead_letters, inbox, metrics
from chassis.database import Database, is_infrastructure_trouble
from chassis.dead_letters import Cap, CapReached, DeadLetter
from chassis.envelope import Heard, Unprocessable
from chassis.failpoints import failpoint
from chassis.hears import Handler, Hears
from chassis.layers import layers
from chassis.tracebacks import without_messages
from chassis.tracing import trace_id, traced
from chassis.transaction import Transaction

log = structlog.get_logger()

Item = Heard | DeadLetter
"""A record of a batch: understood, or already known to be a dead letter."""


class Delivery:
    """Gives batches to a service's handlers. It knows nothing of Kafka: the worker fetches, and commits afterwards."""

    def __init__(self, group: str, hears: Hears, database: Database, *, cap: Cap) -> None:
        self.group = group
        self.handlers = hears.handlers
        self.database = database
        self.cap = cap

    async def deliver(self, items: Sequence[Item]) -> None:
        """Handle the items: inbox, effects, dead letters and outbox in one transaction.

        Where that fails by a record's fault, the batch is halved until the record is alone and dead. Raises what is
        infrastructure trouble (the caller tries the same items again; what was done already is skipped by the
        inbox) and `CapReached`.
        """
        try:
            await self._in_one_transaction(items)
        except CapReached:
            raise
        except Exception as error:
            if is_infrastructure_trouble(error):
                raise
            if len(items) == 1:
                await self._last_try(items[0])
                return
            log.warning("batch_halved", group=self.group, records=len(items), error=type(error).__name__)
            middle = len(items) // 2
            await self.deliver(items[:middle])
            await self.deliver(items[middle:])

    async def _last_try(self, item: Item) -> None:
        """A lone record that failed may have lost a race with another worker: tried once more, then it is dead."""
        try:
            await self._in_one_transaction([item])
        except CapReached:
            raise
        except Exception as error:
            if is_infrastructure_trouble(error) or not isinstance(item, Heard):
                raise
            why = Unprocessable("failed", _whereabouts(error))
            log.error("record_failed", group=self.group, failure=without_messages(error), **_names(item))
            await self._in_one_transaction([DeadLetter(item.raw, why)])

    async def _in_one_transaction(self, items: Sequence[Item]) -> None:
        async with self.database.transaction() as tx:
            heard = [item for item in items if isinstance(item, Heard)]
            letters = [item for item in items if isinstance(item, DeadLetter)]
            tx.hearing(heard)
            fresh = await inbox.claim(tx, heard)
            for record_type, group in layers(
                ((each.raw.topic, each.raw.key), each.record.type, each) for each in fresh
            ):
                await self._call(self.handlers[record_type], group, tx)
            letters += [DeadLetter(each.raw, why) for each, why in tx.refused]
            await inbox.release(tx, [each for each, why in tx.refused if why is not inbox.REUSED])
            await dead_letters.bury(tx, letters, group=self.group, cap=self.cap)
            failpoint("before_database_commit")
        failpoint("after_database_commit")
        metrics.repeated.labels(self.group).inc(len(heard) - len(fresh))
        dead_letters.note(letters, group=self.group)

    async def _call(self, handler: Handler, group: Sequence[Heard], tx: Transaction) -> None:
        started = time.perf_counter()
        if handler.takes_many:
            with traced(handler.record.type, group[0].traceparent if len(group) == 1 else None):
                await handler.handle([each.record for each in group], tx)
        else:
            for each in group:
                with (
                    traced(handler.record.type, each.traceparent),
                    structlog.contextvars.bound_contextvars(**_names(each)),
                ):
                    await handler.handle(each.record, tx)
        metrics.handled.labels(self.group, handler.record.type).inc(len(group))
        metrics.handling_s.labels(self.group, handler.record.type).observe(time.perf_counter() - started)


def _names(each: Heard) -> dict[str, object]:
    """What a log line calls a record: no personal data."""
    customer_id = getattr(each.record, "customer_id", None)
    names: dict[str, object] = {
        "event_id": str(each.event_id),
        "topic": each.raw.topic,
        "partition": each.raw.partition,
        "offset": each.raw.offset,
    }
    if customer_id is not None:
        names["customer_id"] = str(customer_id)
    if each.traceparent is not None:
        names["trace_id"] = trace_id(each.traceparent)
    return names


def _whereabouts(error: Exception) -> str:
    """What failed and where, without the message, which may carry values."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    cause = getattr(error, "orig", None) or error
    sqlstate = getattr(cause, "sqlstate", None)
    state = f" (SQLSTATE {sqlstate})" if sqlstate else ""
    own = next(
        (each for each in reversed(traceback.extract_tb(error.__traceback__)) if _is_ours(each.filename)),
        frame,
    )
    file = "/".join(own.filename.split("/")[-3:])
    return f"{type(cause).__name__}{state} at {file}:{own.lineno} in {own.name}"


def _is_ours(file: str) -> bool:
    """Neither of a library nor of its compiled part, which names itself without its folder."""
    return "site-packages" not in file and not file.endswith(".pyx")
