"""From tills' records on Kafka to the durable ledger and outbox: how many a second, and against what."""

import asyncio
import sys
from uuid import UUID

from benchmarks import pgbench, sql_only
from benchmarks.laws import violations
from benchmarks.receipts import words_of
from benchmarks.report import Figure, against, laws
from benchmarks.stage import Scene, scene, workers
from chassis.outbox import Word
from deploy.local.postgres import EmbeddedPostgres

CUSTOMERS = 20_000
WARM_UP_S = 2
STEADY_SHARE = 0.9
"""The rate is taken after the warm-up and until so much is done: then the partitions run dry one by one."""
RATE = """
WITH committed AS (SELECT pg_xact_commit_timestamp(xmin) AS at FROM operations WHERE id > $3),
     bounds AS (SELECT min(at) + least(make_interval(secs => $1::float8), (max(at) - min(at)) / 4) AS start,
                       percentile_disc($2::float8) WITHIN GROUP (ORDER BY at) AS finish FROM committed)
SELECT count(*) / extract(epoch FROM max(finish) - max(start)) FROM committed, bounds WHERE at > start AND at <= finish
"""


async def measure(server: EmbeddedPostgres, receipts: int, seconds: int) -> list[Figure]:
    """One worker, two, one beside a relay of its own process, one hot account.

    The yardsticks: pgbench, a drained topic, accrual's SQL alone.
    """
    words = words_of(receipts, CUSTOMERS)
    tpcb = pgbench.tpcb(server, seconds)
    drain = Figure("kafka.drain", await drained(server, words), "records/s")
    bare = await sql_only.measure(server, words[: sql_only.RECEIPTS], customers=CUSTOMERS)
    one, one_laws = await throughput(server, "accrual.one_worker", words, processes=1)
    two, two_laws = await throughput(server, "accrual.two_workers", words, processes=2)
    apart, apart_laws = await throughput(server, "accrual.relay_apart", words, processes=1, relay_apart=True)
    hot, hot_laws = await throughput(server, "accrual.hot_account", words_of(receipts, 1), processes=1)
    return [
        tpcb,
        drain,
        *bare,
        against(one, tpcb, wanted="2.0"),
        against(one, drain),
        against(one, bare[0], wanted="0.6"),
        one_laws,
        against(two, tpcb, wanted="3.0"),
        against(two, one),
        two_laws,
        against(apart, one),
        apart_laws,
        against(hot, one, wanted="0.9"),
        hot_laws,
    ]


async def throughput(
    server: EmbeddedPostgres, name: str, words: list[Word], *, processes: int, relay_apart: bool = False
) -> tuple[Figure, Figure]:
    """Purchases per second with so many processes, and how many laws were found broken after it."""
    async with scene(server, name.replace(".", "_"), customers=CUSTOMERS) as here:
        await here.publish(words)
        with workers(here, processes, relay_apart=relay_apart):
            await here.wait_for(len(words))
        return Figure(name, await rate(here, here.since), "purchases/s"), laws(name, await violations(here, len(words)))


async def rate(here: Scene, since: UUID) -> float:
    """Operations per second that were committed with ids after `since`, in the steady part of the run."""
    return float((await here.row(RATE, WARM_UP_S, STEADY_SHARE, since))[0])


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
        if draining.returncode:
            raise RuntimeError("the topic was not drained; see above")
        return float(printed.split()[-1])
