"""Quotes and holds over HTTP while purchases flow in beside them: how long a till waits for either."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any
from uuid import UUID

import orjson

from benchmarks import history
from benchmarks.flow import arrivals, flow, latencies_ms, prepared
from benchmarks.laws import violations
from benchmarks.receipts import Tills, words_of
from benchmarks.report import Figure, laws
from benchmarks.stage import Server, process, scene, workers
from benchmarks.throughput import CUSTOMERS, WARM_UP_S
from benchmarks.till import STORE, TERMINAL, Till, till
from chassis.database import Database
from chassis.ids import new_id
from chassis.publishing import Publication, Publisher
from deploy.local.ports import free_port

WARM_UP_RECEIPTS = 1000
PAST_PURCHASES = 5 * CUSTOMERS
POINTS = 5
WANTED_MS = "<= 50"


async def measure(server: Server, *, visits_per_s: float, purchases_per_s: float, seconds: int) -> list[Figure]:
    """Each visit asks for a quote, has points held, and releases them or completes its purchase with them, by turns."""
    async with scene(server, "holds", customers=CUSTOMERS) as here:
        await history.write(here, 0, PAST_PURCHASES, CUSTOMERS)
        database = Database("loyalty", here.settings)
        port = free_port()
        with workers(here, 1), process(here, "api", http_port=port):
            await here.publish(words_of(WARM_UP_RECEIPTS, CUSTOMERS))
            await here.wait_for(WARM_UP_RECEIPTS)
            async with till(database, port) as asking, Publisher(here.kafka) as publisher:
                tills = Tills(CUSTOMERS, seed=2, made=WARM_UP_RECEIPTS)
                start, words = prepared(tills, purchases_per_s, WARM_UP_S + seconds)
                await asyncio.sleep((start - datetime.now(UTC)).total_seconds())
                visits = Visits(asking, publisher)
                stop = asyncio.Event()
                asyncio.get_running_loop().call_later(WARM_UP_S + seconds, stop.set)
                beside = asyncio.create_task(flow(here, iter(words), start, purchases_per_s, stop))
                await arrivals(visits.visit, visits_per_s, stop)
                receipts = WARM_UP_RECEIPTS + await beside + visits.completed
            await here.wait_for(receipts + visits.completed)
        await database.close()
        p50, p99 = await latencies_ms(here, start + timedelta(seconds=WARM_UP_S), datetime.now(UTC))
        return [
            Figure("hold.visits", visits_per_s, "visits/s"),
            *(figure for name, waits in visits.waits_s.items() for figure in percentiles(f"hold.{name}", waits)),
            Figure("hold.refused", visits.refused, "requests"),
            Figure("hold.accrual_p50", p50, "ms"),
            Figure("hold.accrual_p99", p99, "ms"),
            laws("hold", await violations(here, receipts)),
        ]


class Visits:
    """Customers at a till; remembers how long each of its questions took, from the moment at which it was due."""

    def __init__(self, asking: Till, publisher: Publisher) -> None:
        self.asking = asking
        self.publisher = publisher
        self.tills = Tills(CUSTOMERS, seed=3)
        self.begin = time.monotonic()
        self.waits_s: dict[str, list[float]] = defaultdict(list)
        self.refused = 0
        self.completed = 0

    async def visit(self, moment: float) -> None:
        """One customer, who is there at that moment (by the monotonic clock)."""
        purchase = self.tills.purchase(datetime.now(UTC))
        receipt_id = f"visit-{self.tills.made}"
        basket = purchase.model_dump(include={"card_number", "currency", "lines"})
        quote = await self._ask(receipt_id, "quote", orjson.dumps(basket), moment)
        if quote is None:
            return
        points = min(POINTS, quote["payable"][0]["most_points"])
        hold = await self._ask(receipt_id, "hold", orjson.dumps({"points": points}), time.monotonic())
        if hold is None:
            return
        if self.tills.made % 2:
            await self._ask(receipt_id, "release", b"{}", time.monotonic())
            return
        now = datetime.now(UTC)
        names = {"receipt_id": receipt_id, "store_id": STORE, "terminal_id": TERMINAL}
        completed = purchase.model_copy(update=names | {"completed_at": now, "hold_id": UUID(hold["hold_id"])})
        self.completed += 1
        await self.publisher.publish_words([Publication(completed, new_id(), f"/tills/{TERMINAL}", now).word()])

    async def _ask(self, receipt_id: str, what: str, body: bytes, moment: float) -> dict[str, Any] | None:
        status, answer = await self.asking.ask(receipt_id, what, body)
        if moment > self.begin + WARM_UP_S:
            self.waits_s[what].append(time.monotonic() - moment)
        self.refused += status >= 300
        return answer if status < 300 else None


def percentiles(name: str, waits_s: Sequence[float], *, wanted: str | None = WANTED_MS) -> list[Figure]:
    """p50 and p99 in milliseconds, the aim being for the latter."""
    hundredths = quantiles(waits_s, n=100)
    return [
        Figure(f"{name}_p50", hundredths[49] * 1000, "ms"),
        Figure(f"{name}_p99", hundredths[98] * 1000, "ms", wanted=wanted),
    ]
