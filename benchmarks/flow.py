"""Purchases that come in at a rate, whether the ones before them have been credited or not (an open loop)."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import floor

from benchmarks.receipts import Tills
from benchmarks.stage import Scene
from chassis.outbox import Word
from chassis.publishing import Publisher

TICK_S = 0.001
ENCODED_PER_S = 5000
LATENCY_MS = """
SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (
    ORDER BY extract(epoch FROM pg_xact_commit_timestamp(xmin) - completed_at) * 1000)
FROM purchases WHERE completed_at > $1 AND completed_at <= $2 AND receipt_id LIKE $3
"""


def due(tills: Tills, start: datetime, rate: float) -> Iterator[Word]:
    """Receipts without end, each paid at the moment at which it is to be sent."""
    each = 0
    while True:
        yield tills.receipt(start + timedelta(seconds=each / rate)).word()
        each += 1


def prepared(tills: Tills, rate: float, seconds: float) -> tuple[datetime, list[Word]]:
    """When the first one is due, and receipts for so many seconds: what making them costs is no till's affair then."""
    count = int(rate * seconds)
    start = datetime.now(UTC) + timedelta(seconds=count / ENCODED_PER_S + 2)
    return start, list(islice(due(tills, start, rate), count))


async def flow(here: Scene, words: Iterator[Word], start: datetime, rate: float, stop: asyncio.Event) -> int:
    """Send each word at its moment until there are no more of them, or until `stop`; gives how many were sent."""
    begin = time.monotonic() + (start - datetime.now(UTC)).total_seconds()
    sent = 0
    async with Publisher(here.kafka) as publisher, asyncio.TaskGroup() as sending:
        while not stop.is_set():
            behind = _due(begin, rate) - sent
            if behind > 0:
                now = list(islice(words, behind))
                sending.create_task(publisher.publish_words(now))
                sent += len(now)
                if len(now) < behind:
                    break
            await asyncio.sleep(TICK_S)
    return sent


async def arrivals(visit: Callable[[float], Coroutine[None, None, None]], rate: float, stop: asyncio.Event) -> None:
    """Begin a visit at each of its moments, which it is told, until `stop`; returns when all of them are over."""
    begin = time.monotonic()
    begun = 0
    async with asyncio.TaskGroup() as visiting:
        while not stop.is_set():
            for _ in range(_due(begin, rate) - begun):
                visiting.create_task(visit(begin + begun / rate))
                begun += 1
            await asyncio.sleep(TICK_S)


def _due(begin: float, rate: float) -> int:
    """How many are due by now, the first of them at the beginning itself."""
    return max(0, floor((time.monotonic() - begin) * rate) + 1)


async def latencies_ms(here: Scene, after: datetime, until: datetime, *, till: str = "%") -> tuple[float, float]:
    """p50 and p99 from the moment of paying to the ledger's commit, of receipts that were paid between the two."""
    ((p50, p99),) = await here.row(LATENCY_MS, after, until, till)
    return p50, p99
