"""Where a benchmark plays: a PostgreSQL for the whole run, and for each scene a Kafka and a database of its own."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import asyncpg

from benchmarks.receipts import card_of, customer_of
from chassis.ids import new_id
from chassis.outbox import Word
from chassis.provisioning import provision, topics_of
from chassis.publishing import Publisher
from chassis.settings import Settings
from deploy.local.kafka import EmbeddedKafka
from deploy.local.ports import free_port
from deploy.local.postgres import EmbeddedPostgres
from services.loyalty.__main__ import service

PUBLISHED_AT_ONCE = 5000
SETTLED_AT_ONCE = 100_000
POLL_S = 0.5
CUSTOMERS = """
WITH customer AS (
    SELECT * FROM unnest($1::uuid[], $2::text[]) AS customer (id, card)
), opened AS (
    INSERT INTO accounts (id, customer_id, kind, points_currency, opened_at)
    SELECT id, id, 'main', 'points', now() FROM customer
)
INSERT INTO identifiers (identifier, kind, customer_id, holder_id) SELECT card, 'card', id, id FROM customer
"""
COUNT = "SELECT count(*) FROM operations WHERE id > $1"
DONE = f"SELECT CASE WHEN ({COUNT}) >= $2 THEN NOT EXISTS (SELECT 1 FROM outbox) ELSE false END"


class Server(Protocol):
    """A PostgreSQL in which databases can be made."""

    def dsn(self, database: str) -> str: ...
    def ensure_database(self, name: str) -> None: ...
    def drop_database(self, name: str) -> None: ...


@dataclass
class Scene:
    """Loyalty's database with customers in it, and a Kafka with the declared topics where one is needed."""

    postgres: Server
    prefix: str
    kafka: str = ""
    since: UUID = field(default_factory=new_id)
    """Operations of this scene have later ids; those of a history that was written into it have earlier ones."""

    @property
    def settings(self) -> Settings:
        return Settings(
            kafka=self.kafka,
            database=self.postgres.dsn("postgres"),
            database_prefix=self.prefix,
            log_level="error",
        )

    @property
    def dsn(self) -> str:
        return self.postgres.dsn(f"{self.prefix}loyalty")

    @property
    def environment(self) -> dict[str, str]:
        said = self.settings.model_dump(include={"kafka", "database", "database_prefix", "log_level"})
        return os.environ | {f"KOPILKA_{name.upper()}": value for name, value in said.items()}

    async def publish(self, words: Sequence[Word]) -> None:
        async with Publisher(self.kafka) as publisher:
            for start in range(0, len(words), PUBLISHED_AT_ONCE):
                await publisher.publish_words(words[start : start + PUBLISHED_AT_ONCE])

    async def row(self, statement: str, *arguments: Any) -> Any:
        """The first row of what is asked."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchrow(statement, *arguments)
        finally:
            await connection.close()

    async def wait_for(self, operations: int, *, deadline_s: float = 300) -> None:
        """Until the ledger has so many operations of this scene and the outbox is empty."""
        end = time.monotonic() + deadline_s
        connection = await asyncpg.connect(self.dsn)
        try:
            while await connection.fetchval(DONE, self.since, operations) is not True:
                if time.monotonic() > end:
                    there = await connection.fetchval(COUNT, self.since)
                    raise TimeoutError(f"after {deadline_s} s there are {there} of {operations} operations")
                await asyncio.sleep(POLL_S)
        finally:
            await connection.close()

    async def tidy(self) -> None:
        """Statistics and visibility as autovacuum would have left them, and no checkpoint due."""
        connection = await asyncpg.connect(self.dsn)
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
        await connection.close()


@contextlib.contextmanager
def postgres() -> Iterator[EmbeddedPostgres]:
    """Durable, as everywhere; it also remembers when each transaction committed, for the latencies."""
    with tempfile.TemporaryDirectory(prefix="kopilka-bench-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "pg", free_port(), settings={"track_commit_timestamp": "on"})
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.asynccontextmanager
async def scene(server: Server, name: str, *, customers: int) -> AsyncIterator[Scene]:
    """A fresh Kafka and a fresh database, with customers who have a card each."""
    with tempfile.TemporaryDirectory(prefix="kopilka-bench-") as folder:
        kafka = EmbeddedKafka(Path(folder) / "kafka", free_port())
        kafka.start()
        try:
            async with ledger(server, name, customers=customers) as built:
                built.kafka = kafka.bootstrap
                await provision(kafka.bootstrap, topics_of("loyalty", service.hears), replication=1)
                yield built
        finally:
            kafka.kill()


@contextlib.asynccontextmanager
async def ledger(server: Server, name: str, *, customers: int) -> AsyncIterator[Scene]:
    """A fresh database alone."""
    built = Scene(server, f"bench_{name}_")
    server.ensure_database(f"{built.prefix}loyalty")
    try:
        await service.migrate(built.settings)
        await _settle(built, customers)
        yield built
    finally:
        server.drop_database(f"{built.prefix}loyalty")


async def _settle(built: Scene, customers: int) -> None:
    connection = await asyncpg.connect(built.dsn)
    for start in range(0, customers, SETTLED_AT_ONCE):
        places = range(start, min(customers, start + SETTLED_AT_ONCE))
        await connection.execute(CUSTOMERS, [customer_of(each) for each in places], [card_of(each) for each in places])
    await connection.close()
    await built.tidy()


@contextlib.contextmanager
def workers(scene: Scene, count: int, *, relay_apart: bool = False) -> Iterator[None]:
    """So many processes of loyalty, each a worker and a relay (of which one leads), or one process more for the relay
    alone."""
    with contextlib.ExitStack() as running:
        if relay_apart:
            running.enter_context(process(scene, "relay"))
        for _ in range(count):
            running.enter_context(process(scene, *(["worker"] if relay_apart else ["worker", "relay"])))
        yield


@contextlib.contextmanager
def process(scene: Scene, *parts: str, http_port: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """A process of loyalty with these of its parts."""
    only = [word for part in parts for word in ("--only", part)]
    environment = scene.environment | {"KOPILKA_HTTP_PORT": str(http_port)}
    running = subprocess.Popen([sys.executable, "-m", "services.loyalty", *only], env=environment)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(30)
