"""From a till's record on Kafka to the durable ledger and outbox: how many a second, how long, how right."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta

import asyncpg

from benchmarks.receipts import Tills
from benchmarks.stage import Scene, scene, workers
from chassis.database import Database
from chassis.outbox import Word
from chassis.publishing import Publisher
from chassis.topic_reading import TopicReader
from deploy.local.postgres import EmbeddedPostgres
from services.loyalty import reconciliation

CUSTOMERS = 20_000
WARM_UP_S = 2
STEADY_SHARE = 0.9
"""The rate is taken after the warm-up and until so much is done: then the partitions run dry one by one."""
RATE = """
WITH committed AS (SELECT pg_xact_commit_timestamp(xmin) AS at FROM operations),
     bounds AS (SELECT min(at) + make_interval(secs => $1::float8) AS start,
                       percentile_disc($2::float8) WITHIN GROUP (ORDER BY at) AS finish FROM committed)
SELECT count(*) / extract(epoch FROM max(finish) - max(start)) FROM committed, bounds WHERE at > start AND at <= finish
"""
LATENCY_MS = """
SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (
    ORDER BY extract(epoch FROM pg_xact_commit_timestamp(xmin) - completed_at) * 1000)
FROM purchases WHERE completed_at > $1
"""


async def throughput(server: EmbeddedPostgres, words: list[Word], *, processes: int) -> tuple[float, int]:
    """Purchases per second with so many processes, and how many laws were found broken after it."""
    async with scene(server, f"throughput_{processes}", customers=CUSTOMERS) as here:
        await here.publish(words)
        with workers(here, processes):
            await here.wait_for(len(words))
        connection = await asyncpg.connect(here.dsn)
        rate = float(await connection.fetchval(RATE, WARM_UP_S, STEADY_SHARE))
        await connection.close()
        return rate, await violations(here, len(words))


async def drained(server: EmbeddedPostgres, words: list[Word]) -> float:
    """Records per second of a consumer that only drains the topic."""
    async with scene(server, "drain", customers=1) as here:
        await here.publish(words)
        draining = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.drain", str(len(words))),
            env=here.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await draining.communicate()
        return float(printed.split()[-1])


async def latency(server: EmbeddedPostgres, *, rate: float, seconds: int) -> tuple[float, float, int]:
    """p50 and p99 in milliseconds from the intended moment of sending to the ledger's commit, in an open loop."""
    async with scene(server, "latency", customers=CUSTOMERS) as here:
        with workers(here, 1):
            await here.publish(warm_up := words_of(1000, datetime.now(UTC)))
            await here.wait_for(len(warm_up))
            count = int(rate * seconds)
            tills = Tills(CUSTOMERS, seed=2)
            tills.made = len(warm_up)
            encoding_s = count / 5000 + 2
            start = datetime.now(UTC) + timedelta(seconds=encoding_s)
            words = [tills.receipt(start + timedelta(seconds=each / rate)).word() for each in range(count)]
            await _send_at(here, words, start, rate)
            await here.wait_for(len(warm_up) + count)
        connection = await asyncpg.connect(here.dsn)
        p50, p99 = await connection.fetchval(LATENCY_MS, start + timedelta(seconds=WARM_UP_S))
        await connection.close()
        return p50, p99, await violations(here, len(warm_up) + count)


def words_of(count: int, start: datetime) -> list[Word]:
    """The bytes of so many receipts."""
    return [publication.word() for publication in Tills(CUSTOMERS).receipts(count, start - timedelta(days=1))]


async def violations(here: Scene, receipts: int) -> int:
    """How many laws are broken: the ledger's, one accrual a receipt, one event an operation."""
    database = Database("loyalty", here.settings)
    async with database.reading() as tx:
        broken = len(await reconciliation.differences(tx))
        operations = {str(each) for (each,) in await tx.sql("SELECT id FROM operations")}
    await database.close()
    events: list[str] = []
    async with TopicReader(here.kafka.bootstrap) as bus:
        said = bus.read("loyalty.events", start="beginning", follow=False)
        events += [json.loads(raw.value or b"")["operation_id"] async for raw in said]
    return broken + abs(receipts - len(operations)) + len(operations ^ set(events)) + len(events) - len(set(events))


async def _send_at(here: Scene, words: list[Word], start: datetime, rate: float) -> None:
    """Each record at its moment, whether the ones before it have arrived or not."""
    begin = time.monotonic() + (start - datetime.now(UTC)).total_seconds()
    sent = 0
    async with Publisher(here.kafka.bootstrap) as publisher, asyncio.TaskGroup() as sending:
        while sent < len(words):
            due = min(len(words), int((time.monotonic() - begin) * rate))
            if due > sent:
                sending.create_task(publisher.publish_words(words[sent:due]))
                sent = due
            await asyncio.sleep(0.001)
