"""The end of a year: millions of lots end at one moment. How long it takes, and what the tills notice of it."""

import asyncio
import time
from datetime import UTC, datetime

import asyncpg
import orjson

from benchmarks import history
from benchmarks.flow import arrivals, due, flow, latencies_ms
from benchmarks.holds import percentiles
from benchmarks.laws import violations
from benchmarks.receipts import Tills, words_of
from benchmarks.report import Figure, against, laws
from benchmarks.stage import POLL_S, Scene, Server, process, scene, workers
from benchmarks.till import Till, till
from chassis.database import Database
from deploy.local.ports import free_port

LOTS_AN_ACCOUNT = 10
WARM_UP_RECEIPTS = 1000
PURCHASES_PER_S = 500
QUOTES_PER_S = 50
OK = 200
DEADLINE_S = 4 * 3600
LEFT = "SELECT 1 FROM lots WHERE remaining > 0 AND expires_at <= $1 ORDER BY expires_at DESC LIMIT 1"
"""The job takes them from the other end."""
UNSAID = "SELECT 1 FROM outbox LIMIT 1"


async def measure(server: Server, *, lots: int, seconds: int) -> list[Figure]:
    """The burning of so many lots, purchases and quotes flowing in beside it, and before it for `seconds`."""
    customers = max(1, lots // LOTS_AN_ACCOUNT)
    async with scene(server, "expiry", customers=customers) as here:
        ended_at = datetime.now(UTC)
        await history.write(here, 0, lots, customers, expire_at=ended_at)
        database = Database("loyalty", here.settings)
        port = free_port()
        with workers(here, 1), process(here, "api", http_port=port):
            await here.publish(words_of(WARM_UP_RECEIPTS, customers))
            await here.wait_for(WARM_UP_RECEIPTS)
            async with till(database, port) as asking:
                load = Load(here, asking, customers)
                await load.phase("before", seconds)
                began = time.monotonic()
                with process(here, "jobs"):
                    burning = asyncio.create_task(_until_none(here, LEFT, ended_at))
                    await load.phase("during", burning)
                    burned_s = time.monotonic() - began
                receipts = WARM_UP_RECEIPTS + load.receipts
            await _until_none(here, UNSAID)
            said_s = time.monotonic() - began
            await here.wait_for(receipts + customers)
        await database.close()
        return [
            Figure("expiry.lots", lots, "lots"),
            Figure("expiry.burned", burned_s, "s"),
            Figure("expiry.lots_per_s", lots / burned_s, "lots/s"),
            Figure("expiry.said", said_s, "s"),
            *await load.figures(),
            Figure("expiry.quotes_refused", load.refused, "requests"),
            laws("expiry", await violations(here, receipts)),
        ]


class Load:
    """What goes on at the tills in the meantime: purchases over Kafka, quotes over HTTP."""

    def __init__(self, here: Scene, asking: Till, customers: int) -> None:
        self.here = here
        self.asking = asking
        self.tills = Tills(customers, seed=2, made=WARM_UP_RECEIPTS)
        self.askers = Tills(customers, seed=3)
        self.receipts = 0
        self.refused = 0
        self.waits_s: list[float] = []
        self.phases: dict[str, tuple[datetime, datetime, list[float]]] = {}

    async def phase(self, name: str, until: float | asyncio.Task[None]) -> None:
        """Go on for so many seconds, or until that is done."""
        stop, self.waits_s, start = asyncio.Event(), [], datetime.now(UTC)
        over = until if isinstance(until, asyncio.Task) else asyncio.create_task(asyncio.sleep(until))
        over.add_done_callback(lambda _: stop.set())
        words = due(self.tills, start, PURCHASES_PER_S)
        buying = asyncio.create_task(flow(self.here, words, start, PURCHASES_PER_S, stop))
        await arrivals(self._ask, QUOTES_PER_S, stop)
        await over
        finish = datetime.now(UTC)
        self.receipts += await buying
        self.phases[name] = (start, finish, self.waits_s)

    async def figures(self) -> list[Figure]:
        """p50 and p99 of both in each phase; those with the job against those before it."""
        of = {name: await self._of_phase(name, *phase) for name, phase in self.phases.items()}
        return [*of["before"], *map(against, of["during"], of["before"])]

    async def _of_phase(self, name: str, start: datetime, finish: datetime, waits_s: list[float]) -> list[Figure]:
        p50, p99 = await latencies_ms(self.here, start, finish)
        return [
            Figure(f"expiry.accrual_{name}_p50", p50, "ms"),
            Figure(f"expiry.accrual_{name}_p99", p99, "ms"),
            *percentiles(f"expiry.quote_{name}", waits_s, wanted=None),
        ]

    async def _ask(self, moment: float) -> None:
        purchase = self.askers.purchase(datetime.now(UTC))
        basket = purchase.model_dump(include={"card_number", "currency", "lines"})
        status, _ = await self.asking.ask(f"asked-{self.askers.made}", "quote", orjson.dumps(basket))
        self.refused += status != OK
        self.waits_s.append(time.monotonic() - moment)


async def _until_none(here: Scene, query: str, *arguments: datetime) -> None:
    """Until the query finds nothing any more."""
    connection = await asyncpg.connect(here.dsn)
    async with asyncio.timeout(DEADLINE_S):
        while await connection.fetchval(query, *arguments) is not None:  # noqa: ASYNC110  (another process's doing)
            await asyncio.sleep(POLL_S)
    await connection.close()
