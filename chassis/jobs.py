"""Jobs: what a service does by the clock. One instance at a time runs each, in pieces, each piece a transaction."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from chassis import dead_letters, giving_up, idempotency, inbox, metrics
from chassis.database import Database
from chassis.retrying import may_pass
from chassis.settings import Settings
from chassis.tracebacks import without_messages
from chassis.transaction import Transaction

log = structlog.get_logger()

Piece = Callable[[Transaction], Awaitable[bool]]
LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"


@dataclass(frozen=True)
class Job:
    """Runs `piece` every `every`; again at once while it answers True (more is due). Named by the function."""

    piece: Piece
    every: timedelta

    @property
    def name(self) -> str:
        return self.piece.__name__


def job(*, every: timedelta) -> Callable[[Piece], Job]:
    """Make the function below a `Job`. It takes a transaction, does a bounded piece, and says whether more is due."""
    return lambda piece: Job(piece, every)


def housekeeping(settings: Settings) -> list[Job]:
    """The jobs that every service has: forgetting what is remembered, and giving up what waits, for long enough."""

    async def forget_event_ids(tx: Transaction) -> bool:
        return await inbox.forget(tx, before=tx.now - timedelta(days=settings.inbox_keep_days))

    async def forget_answers(tx: Transaction) -> bool:
        return await idempotency.forget(tx, before=tx.now - timedelta(hours=settings.idempotency_keep_hours))

    async def forget_dead_letters(tx: Transaction) -> bool:
        return await dead_letters.forget(tx)

    async def give_up_long_waits(tx: Transaction) -> bool:
        return await giving_up.give_up_long_waits(tx, timedelta(days=settings.waiting_days))

    hourly = timedelta(hours=1)
    return [
        Job(forget_event_ids, hourly),
        Job(forget_answers, hourly),
        Job(forget_dead_letters, hourly),
        Job(give_up_long_waits, timedelta(minutes=1)),
    ]


async def run_job(job: Job, database: Database) -> None:
    """All pieces that are due now; nothing where another instance is at it."""
    while True:
        started = time.perf_counter()
        async with database.transaction() as tx:
            ((is_mine,),) = await tx.sql(LOCK, f"kopilka.job.{job.name}")
            more = is_mine and await job.piece(tx)
        metrics.job_s.labels(database.service, job.name).observe(time.perf_counter() - started)
        if not more:
            return


async def keep_running(job: Job, database: Database, stop: asyncio.Event) -> None:
    """Run the job by the clock until `stop`. A failed run is logged, counted, and tried again at the next turn."""
    while not stop.is_set():
        try:
            await run_job(job, database)
        except Exception as error:
            metrics.job_failures.labels(database.service, job.name).inc()
            where = [] if may_pass(error) else without_messages(error)
            log.error("job_failed", job=job.name, error=type(error).__name__, failure=where)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), job.every.total_seconds())
