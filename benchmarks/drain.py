"""The other yardstick: the same worker takes the same topic off the bus, commits its offsets, and handles nothing.

A process of its own: `python -m benchmarks.drain COUNT` prints the records per second.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import uvloop

from chassis import metrics
from chassis.database import Database
from chassis.dead_letters import Cap
from chassis.delivery import Delivery
from chassis.hears import Hears
from chassis.settings import settings
from chassis.transaction import Transaction
from chassis.worker import Worker
from contracts.purchases import PurchaseCompleted


async def drain(count: int) -> float:
    """Records per second from the first batch to the last of `count` records."""
    hears = Hears()
    hears.many(PurchaseCompleted)(_never)
    database = Database("drain", settings())
    worker = Worker("drain", hears, Delivery("drain", hears, database, cap=Cap(0, timedelta(0))), settings())
    worker.known = {}
    skipped = metrics.skipped.labels("drain", PurchaseCompleted.topic)
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    await _until(lambda: skipped._value.get() > 0, working)
    began, first = time.perf_counter(), skipped._value.get()
    await _until(lambda: skipped._value.get() >= count, working)
    seconds = time.perf_counter() - began
    stop.set()
    await working
    await database.close()
    return float((count - first) / seconds)


async def _until(is_so: Callable[[], bool], working: asyncio.Task[None]) -> None:
    while not is_so():
        if working.done():
            raise RuntimeError("the worker ended before the topic was drained") from working.exception()
        await asyncio.sleep(0.001)


async def _never(_: Sequence[PurchaseCompleted], __: Transaction) -> None:
    raise AssertionError("the drain hears nothing")


if __name__ == "__main__":
    print(uvloop.run(drain(int(sys.argv[1]))))
