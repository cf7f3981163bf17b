"""Running services in tests: as a process that may be killed and frozen, or inside the test; and seeing what they did.

`House` is one service's surroundings: a database of its own, and the bus from where it stood when the house was
made. One house stands at a time on a Kafka, for topics and groups have the same names in each.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import sqlalchemy as sa
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from chassis.database import Database
from chassis.envelope import Raw
from chassis.provisioning import provision
from chassis.service import Service
from chassis.settings import Settings
from chassis.topic_reading import TopicReader
from chassis.transaction import Row, Transaction
from contracts.topics import TOPICS, dead_letter_topic
from deploy.local import leash
from tests.infra import Kafka, Postgres

REPOSITORY = Path(__file__).parents[1]
DEADLINE_S = 90
"""A machine that does much else may start a process slowly; what must be quick says so itself."""
WAITERS = """
SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()
"""


async def until(
    is_so: Callable[[], Awaitable[Any]], *, what: str, within_s: float = DEADLINE_S, every_s: float = 0.02
) -> float:
    """Wait until `is_so()` answers something true; gives how long it took, s. Fails naming `what`."""
    started = time.monotonic()
    while not await is_so():
        if time.monotonic() - started > within_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(every_s)
    return time.monotonic() - started


async def waiters(database: Database) -> int:
    """How many sessions of the database wait for a lock of another one."""
    async with database.reading() as tx:
        ((count,),) = await tx.sql(WAITERS)
    return int(count)


@contextlib.contextmanager
def statements() -> Iterator[list[str]]:
    """The statements that this process' transactions run meanwhile, in their order."""
    seen: list[str] = []
    sql, execute = Transaction.sql, Transaction.execute

    async def note_sql(tx: Transaction, statement: str, *arguments: Any) -> list[Row]:
        seen.append(statement)
        return await sql(tx, statement, *arguments)

    async def note_execute(tx: Transaction, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        seen.append(str(statement))
        return await execute(tx, statement, parameters)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Transaction, "sql", note_sql)
        patched.setattr(Transaction, "execute", note_execute)
        yield seen


class Instance:
    """One process of a service: `python -m services.<name>`, its log kept."""

    def __init__(self, service: str, environment: dict[str, str], *arguments: str) -> None:
        self.started_at = time.time()
        self._log = Path(tempfile.mkstemp(prefix=f"kopilka-test-{service}-", suffix=".log")[1])
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}", *arguments],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        leash.hold(self.process.pid)

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def said(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of that event, with their fields."""
        lines = []
        for line in self.log.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                fields = json.loads(line)
                if fields.get("event") == event:
                    lines.append(fields)
        return lines

    async def until_it_said(self, event: str, *, within_s: float = DEADLINE_S) -> None:
        """Wait for an event in the log."""

        async def said() -> bool:
            assert self.runs, f"the service ended ({self.process.returncode}):\n{self.log[-3000:]}"
            return bool(self.said(event))

        await until(said, what=f"the log says {event}", within_s=within_s)

    async def until_dead(self, *, within_s: float = DEADLINE_S) -> int:
        """Wait for its end, by a failpoint or by itself; gives the exit code (negative: the signal)."""

        async def dead() -> bool:
            return not self.runs

        await until(dead, what="the process ended", within_s=within_s)
        leash.release(self.process.pid)
        return self.process.wait()

    async def http(self) -> httpx.AsyncClient:
        """A client of its HTTP API, once it listens."""
        await self.until_it_said("http_listens")
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.said('http_listens')[0]['port']}", timeout=10)

    async def is_ready(self) -> bool:
        async with await self.http() as client:
            return (await client.get("/readyz")).status_code == 200

    async def until_ready(self, *, within_s: float = DEADLINE_S) -> Self:
        """Wait until /readyz says so and the worker has its partitions."""
        await self.until_it_said("partitions_assigned", within_s=within_s)
        await until(self.is_ready, what="/readyz answers 200", within_s=within_s)
        return self

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        leash.release(self.process.pid)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def stop(self, *, within_s: float = 15) -> int:
        """SIGTERM, and wait for the clean end."""
        self.process.terminate()
        return await self.until_dead(within_s=within_s)

    def forget(self) -> None:
        """At the end of the test, whatever happened to it."""
        if self.runs:
            self.kill()
        self._log.unlink(missing_ok=True)


class House:
    """A service's surroundings: `async with House.built(service, kafka, postgres) as house`."""

    def __init__(self, service: Service, kafka: Kafka, postgres: Postgres, settings: Settings) -> None:
        self.service = service
        self.kafka = kafka
        self.postgres = postgres
        self.settings = settings
        # However slow a test is, its own sessions are not frozen ones.
        self.database = Database(service.name, settings.model_copy(update={"transaction_idle_timeout_s": DEADLINE_S}))
        self.instances: list[Instance] = []
        self.begins: dict[TopicPartition, int] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def built(cls, service: Service, kafka: Kafka, postgres: Postgres, **settings: Any) -> AsyncIterator[Self]:
        """A migrated database, the topics, and the service's group at the end of each of them."""
        prefix = f"t{uuid.uuid4().hex[:10]}_"
        database = f"{prefix}{service.name}"
        postgres.ensure_database(database)
        house = cls(
            service,
            kafka,
            postgres,
            Settings(
                **{
                    "kafka": kafka.bootstrap,
                    "database": postgres.dsn("postgres"),
                    "database_prefix": prefix,
                    "http_port": 0,
                    **settings,
                }
            ),
        )
        try:
            await service.migrate(house.settings)
            await provision(kafka.bootstrap, house.topics, replication=1)
            house.begins = await pin_at_the_ends(kafka, service.name, service.hears.topics, house.topic_names)
            yield house
        except BaseException:
            for instance in house.instances:
                sys.stderr.write(f"--- log of process {instance.process.pid}\n{instance.log[-4000:]}\n")
            raise
        finally:
            for instance in house.instances:
                instance.thaw()
                instance.forget()
            await house.database.close()
            postgres.drop_database(database)

    @property
    def topics(self) -> list[Any]:
        dead = [dead_letter_topic(topic, self.service.name) for topic in self.service.hears.topics]
        return [*TOPICS.values(), *dead]

    @property
    def topic_names(self) -> list[str]:
        return [topic.name for topic in self.topics]

    def start(self, *arguments: str, **settings: object) -> Instance:
        """Start one more process; `settings` go over the house's (`failpoint="after_decode:3"`)."""
        instance = Instance(self.service.name, _environment(self.settings, settings), *arguments)
        self.instances.append(instance)
        return instance

    @contextlib.asynccontextmanager
    async def running(self, **settings: Any) -> AsyncIterator[None]:
        """The service inside the test's own process; stopped cleanly."""
        async with running(self.service, self.settings.model_copy(update=settings)):
            yield

    async def records(self, topic: str) -> list[Raw]:
        """All committed records of the topic since the house was built, in the order of each partition."""
        return await records(self.kafka, topic, {tp: at for tp, at in self.begins.items() if tp.topic == topic})

    async def dead_letters(self, topic: str = "pos.purchases") -> list[Raw]:
        """What the service put on its dead-letter topic."""
        return await self.records(dead_letter_topic(topic, self.service.name).name)

    async def rewind(self) -> None:
        """Have everything since the house was built delivered again; no instance may be running."""
        starts = {tp: at for tp, at in self.begins.items() if tp.topic in self.service.hears.topics}
        await commit_offsets(self.kafka, self.service.name, starts)

    async def reconnect(self) -> None:
        """After PostgreSQL was away: the test's own connections to it are gone."""
        await self.database.engine.dispose()

    async def value(self, query: str, *arguments: object) -> Any:
        """One value out of the service's database."""
        async with self.database.reading() as tx:
            ((value,),) = await tx.sql(query, *arguments)
        return value

    async def rows(self, query: str, *arguments: object) -> list[Any]:
        async with self.database.reading() as tx:
            return list(await tx.sql(query, *arguments))

    async def lag(self) -> int:
        """Records that the service's group has not committed yet."""
        return await lag(self.kafka, self.service.name, self.service.hears.topics)

    async def until_drained(self, *, within_s: float = 60) -> None:
        """Wait until everything published is handled and committed, and everything said is published."""

        async def drained() -> bool:
            return await self.value("SELECT count(*) FROM outbox") == 0 and await self.lag() == 0

        await until(drained, what="no lag and an empty outbox", within_s=within_s, every_s=0.1)


@contextlib.asynccontextmanager
async def running(service: Service, settings: Settings) -> AsyncIterator[None]:
    """The whole service inside the test's own process; its failure is the test's."""
    stop = asyncio.Event()
    serving = asyncio.create_task(service.serve(settings, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await serving


async def pin_at_the_ends(
    kafka: Kafka, group: str, heard: Collection[str], topics: Iterable[str]
) -> dict[TopicPartition, int]:
    """Commit the group's offsets at the ends of what it hears; gives the ends of all `topics`."""
    begins = await ends(kafka, list(topics))
    await commit_offsets(kafka, group, {tp: at for tp, at in begins.items() if tp.topic in heard})
    return begins


async def commit_offsets(kafka: Kafka, group: str, offsets: dict[TopicPartition, int]) -> None:
    """Set where a group stands. It is refused while the group has members, so a killed one is waited for."""
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=group, enable_auto_commit=False
    ) as consumer:
        consumer.assign(list(offsets))

        async def committed() -> bool:
            with contextlib.suppress(KafkaError):
                await consumer.commit(offsets)
                return True
            return False

        await until(committed, what=f"the group {group} has no members")


async def records(kafka: Kafka, topic: str, begins: dict[TopicPartition, int]) -> list[Raw]:
    """The committed records of a topic from these offsets to its end, in the order of each partition."""
    found: list[Raw] = []
    stops = await _written(kafka, begins)
    unread = {partition for partition in begins if begins[partition] < stops[partition]}
    if not unread:
        return []
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, isolation_level="read_committed", enable_auto_commit=False
    ) as consumer:
        consumer.assign(list(begins))
        for partition, offset in begins.items():
            consumer.seek(partition, offset)
        async with asyncio.timeout(DEADLINE_S):
            while unread:
                for fetched in (await consumer.getmany(timeout_ms=200)).values():
                    found += [
                        Raw(topic, each.partition, each.offset, each.timestamp, each.key, each.value, each.headers)
                        for each in fetched
                    ]
                unread = {each for each in unread if await consumer.position(each) < stops[each]}
    return found


async def ends(kafka: Kafka, topics: Collection[str]) -> dict[TopicPartition, int]:
    """The offset behind the last record of each partition, be its transaction still open.

    A transaction that is decided becomes visible a little later; who reads up to here with read_committed waits for it.
    """
    partitions, _ = await _ends_and_committed(kafka, "", topics)
    return await _written(kafka, partitions)


async def _written(kafka: Kafka, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False) as consumer:
        await consumer._client.set_topics({partition.topic for partition in partitions})  # see `TopicReader`
        return dict(await consumer.end_offsets(list(partitions)))


async def lag(kafka: Kafka, group: str, topics: Collection[str]) -> int:
    """Offsets between where a group stands and the ends of the topics."""
    at_ends, committed = await _ends_and_committed(kafka, group, topics)
    return sum(end - committed.get(partition, 0) for partition, end in at_ends.items())


async def _ends_and_committed(
    kafka: Kafka, group: str, topics: Collection[str]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Asked again while Kafka is not up to it: just started, or topics just made."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            async with TopicReader(kafka.bootstrap) as bus:
                return await bus.ends(topics), await bus.committed(group) if group else {}
        except KafkaError:
            if time.monotonic() > deadline:
                raise


def _environment(settings: Settings, over: dict[str, object]) -> dict[str, str]:
    told = settings.model_dump(exclude_unset=True) | over
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KOPILKA_")}
    inherited["_TYPER_STANDARD_TRACEBACK"] = "1"
    return inherited | {f"KOPILKA_{name.upper()}": str(value) for name, value in told.items()}
