"""How long a purchase takes from its till to the committed ledger, at half of what one worker can do."""

import asyncio
from datetime import timedelta

from benchmarks.flow import flow, latencies_ms, prepared
from benchmarks.laws import violations
from benchmarks.receipts import Tills, words_of
from benchmarks.report import Figure, laws
from benchmarks.stage import Server, scene, workers
from benchmarks.throughput import CUSTOMERS, WARM_UP_S

WARM_UP_RECEIPTS = 1000


async def measure(server: Server, *, rate: float, seconds: int) -> list[Figure]:
    """p50 and p99 from the intended moment of sending to the ledger's commit, in an open loop."""
    async with scene(server, "latency", customers=CUSTOMERS) as here:
        with workers(here, 1):
            await here.publish(words_of(WARM_UP_RECEIPTS, CUSTOMERS))
            await here.wait_for(WARM_UP_RECEIPTS)
            start, words = prepared(Tills(CUSTOMERS, seed=2, made=WARM_UP_RECEIPTS), rate, seconds)
            await flow(here, iter(words), start, rate, asyncio.Event())
            receipts = WARM_UP_RECEIPTS + len(words)
            await here.wait_for(receipts)
        p50, p99 = await latencies_ms(here, start + timedelta(seconds=WARM_UP_S), start + timedelta(seconds=seconds))
        return [
            Figure("accrual.latency_rate", rate, "purchases/s"),
            Figure("accrual.latency_p50", p50, "ms"),
            Figure("accrual.latency_p99", p99, "ms", wanted="<= 25"),
            laws("accrual.latency", await violations(here, receipts)),
        ]
