"""The yardstick of accrual: the SQL of its batches alone, replayed without Kafka and without a purchase being made.

Real batches are delivered once in a database of its own, and each statement is noted with its arguments. Then all of
it is replayed in another database that is as the first one was: the ids are new there, and the laws hold afterwards.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID
from zlib import crc32

import asyncpg

from benchmarks.laws import violations
from benchmarks.report import Figure, against, laws
from benchmarks.stage import Scene, Server, ledger
from chassis.database import BATCH_PLANS, Database
from chassis.dead_letters import Cap
from chassis.delivery import Delivery
from chassis.envelope import Heard, Raw, decode
from chassis.outbox import Word
from chassis.settings import Settings
from chassis.transaction import Row, Transaction
from services.loyalty.handlers import hears

RECEIPTS = 40_000
"""What is noted stays in memory."""
LANES = 2
WARM_UP_SHARE = 0.1
Batch = Sequence[tuple[str, tuple[Any, ...]]]
"""The statements of one transaction."""


async def measure(server: Server, words: Sequence[Word], *, customers: int) -> list[Figure]:
    """Purchases per second over one connection, and over two that share no account, as two workers' share none."""
    async with ledger(server, "recorded", customers=customers) as here:
        lanes = [await _noted(here, [word for word in words if _lane_of(word) == lane]) for lane in range(LANES)]
        recorded = Recorded(here.since, len(words), customers)
    one, one_laws = await _replayed(server, "accrual.sql_only", [_in_turns(lanes)], recorded)
    two, two_laws = await _replayed(server, "accrual.sql_only_two", lanes, recorded)
    return [one, one_laws, against(two, one), two_laws]


class Recorded(NamedTuple):
    """Of what the statements are: operations with ids after `since`, of so many receipts and customers."""

    since: UUID
    receipts: int
    customers: int


def _lane_of(word: Word) -> int:
    """The same for all receipts of a card."""
    return crc32(word.key or b"") % LANES


class _Noting(Transaction):
    """A transaction that remembers its statements."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.noted: list[tuple[str, tuple[Any, ...]]] = []

    async def sql(self, statement: str, *arguments: Any) -> list[Row]:
        self.noted.append((statement, arguments))
        return await super().sql(statement, *arguments)


class _NotingDatabase(Database):
    """A database that remembers the statements of each transaction that was committed."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("loyalty", settings, for_batches=True)
        self.batches: list[Batch] = []

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[Transaction]:
        async with super().looking() as tx:
            yield _Noting(tx.connection, tx.session, service=tx.service, now=tx.now)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with super().transaction() as tx:
            yield tx
        assert isinstance(tx, _Noting)
        self.batches.append(tx.noted)


async def _noted(here: Scene, words: Sequence[Word]) -> list[Batch]:
    database = _NotingDatabase(here.settings)
    delivery = Delivery("loyalty", hears, database, cap=Cap(0, timedelta(days=1)))
    heard = (_heard(word, place) for place, word in enumerate(words))
    while batch := list(islice(heard, here.settings.batch_records)):
        await delivery.deliver(batch)
    await database.close()
    return database.batches


def _heard(word: Word, place: int) -> Heard:
    raw = Raw(word.topic, 0, place, 0, word.key, word.value, word.headers)
    heard = decode(raw, hears.known, value_max_bytes=len(word.value or b""))
    assert heard is not None
    return heard


def _in_turns(lanes: Sequence[Sequence[Batch]]) -> list[Batch]:
    longest = max(map(len, lanes))
    return [lane[place] for place in range(longest) for lane in lanes if place < len(lane)]


async def _replayed(
    server: Server, name: str, lanes: Sequence[Sequence[Batch]], recorded: Recorded
) -> tuple[Figure, Figure]:
    async with ledger(server, name.replace(".", "_"), customers=recorded.customers) as here:
        here.since = recorded.since
        async with contextlib.AsyncExitStack() as connections:
            opened = [await connections.enter_async_context(_connection(here)) for _ in lanes]
            warm_up = [int(len(lane) * WARM_UP_SHARE) for lane in lanes]
            await _replay(opened, [lane[:count] for lane, count in zip(lanes, warm_up, strict=True)])
            began = time.perf_counter()
            await _replay(opened, [lane[count:] for lane, count in zip(lanes, warm_up, strict=True)])
            seconds = time.perf_counter() - began
        replayed = recorded.receipts * (1 - sum(warm_up) / sum(map(len, lanes)))
        figure = Figure(name, replayed / seconds, "purchases/s")
        return figure, laws(name, await violations(here, recorded.receipts))


async def _replay(connections: Sequence[asyncpg.Connection], lanes: Sequence[Sequence[Batch]]) -> None:
    async with asyncio.TaskGroup() as replaying:
        for connection, lane in zip(connections, lanes, strict=True):
            replaying.create_task(_replay_lane(connection, lane))


async def _replay_lane(connection: asyncpg.Connection, lane: Sequence[Batch]) -> None:
    for batch in lane:
        async with connection.transaction():
            for statement, arguments in batch:
                await connection.fetch(statement, *arguments)


@contextlib.asynccontextmanager
async def _connection(here: Scene) -> AsyncIterator[asyncpg.Connection]:
    """A session such as the worker's."""
    connection = await asyncpg.connect(here.dsn, server_settings={"timezone": "UTC", "jit": "off"} | BATCH_PLANS)
    try:
        yield connection
    finally:
        await connection.close()
