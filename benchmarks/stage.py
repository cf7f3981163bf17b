"""Where a benchmark plays: a PostgreSQL for the whole run, and for each scene a Kafka and a database of its own."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from benchmarks.receipts import card_of, customer_of
from chassis.outbox import Word
from chassis.provisioning import provision, topics_of
from chassis.publishing import Publisher
from chassis.settings import Settings
from deploy.local.kafka import EmbeddedKafka
from deploy.local.ports import free_port
from deploy.local.postgres import EmbeddedPostgres
from services.loyalty.__main__ import service

PUBLISHED_AT_ONCE = 5000
CUSTOMERS = """
WITH customer AS (
    SELECT * FROM unnest($1::uuid[], $2::text[]) AS customer (id, card)
), opened AS (
    INSERT INTO accounts (id, customer_id, kind, points_currency, opened_at)
    SELECT id, id, 'main', 'points', now() FROM customer
)
INSERT INTO identifiers (identifier, kind, customer_id, holder_id) SELECT card, 'card', id, id FROM customer
"""


@dataclass
class Scene:
    """A Kafka with the declared topics, and loyalty's database with customers in it."""

    kafka: EmbeddedKafka
    postgres: EmbeddedPostgres
    prefix: str

    @property
    def settings(self) -> Settings:
        return Settings(
            kafka=self.kafka.bootstrap,
            database=self.postgres.dsn("postgres"),
            database_prefix=self.prefix,
            log_level="info",
        )

    @property
    def dsn(self) -> str:
        return self.postgres.dsn(f"{self.prefix}loyalty")

    @property
    def environment(self) -> dict[str, str]:
        said = self.settings.model_dump(include={"kafka", "database", "database_prefix", "log_level"})
        return os.environ | {f"KOPILKA_{name.upper()}": value for name, value in said.items()}

    async def publish(self, words: Sequence[Word]) -> None:
        async with Publisher(self.kafka.bootstrap) as publisher:
            for start in range(0, len(words), PUBLISHED_AT_ONCE):
                await publisher.publish_words(words[start : start + PUBLISHED_AT_ONCE])

    async def count(self) -> int:
        """Purchases in the ledger."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM operations"))
        finally:
            await connection.close()

    async def wait_for(self, count: int, *, deadline_s: float = 300) -> None:
        """Until the ledger has so many operations and the outbox is empty."""
        end = time.monotonic() + deadline_s
        connection = await asyncpg.connect(self.dsn)
        try:
            while await connection.fetchval(DONE, count) is not True:
                if time.monotonic() > end:
                    raise TimeoutError(f"after {deadline_s} s there are {await self.count()} of {count} operations")
                await asyncio.sleep(0.5)
        finally:
            await connection.close()


DONE = """
SELECT CASE WHEN (SELECT count(*) FROM operations) >= $1 THEN NOT EXISTS (SELECT 1 FROM outbox) ELSE false END
"""


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
async def scene(server: EmbeddedPostgres, name: str, *, customers: int) -> AsyncIterator[Scene]:
    """A fresh Kafka and a fresh database, with customers who have a card each."""
    with tempfile.TemporaryDirectory(prefix="kopilka-bench-") as folder:
        kafka = EmbeddedKafka(Path(folder) / "kafka", free_port())
        kafka.start()
        try:
            built = Scene(kafka, server, f"bench_{name}_")
            server.ensure_database(f"{built.prefix}loyalty")
            await service.migrate(built.settings)
            await provision(kafka.bootstrap, topics_of("loyalty", service.hears), replication=1)
            await _settle(built, customers)
            yield built
        finally:
            kafka.kill()


async def _settle(built: Scene, customers: int) -> None:
    connection = await asyncpg.connect(built.dsn)
    places = range(customers)
    await connection.execute(CUSTOMERS, [customer_of(each) for each in places], [card_of(each) for each in places])
    await connection.execute("ANALYZE")
    await connection.close()


@contextlib.contextmanager
def workers(scene: Scene, count: int) -> Iterator[None]:
    """So many processes of loyalty, each a worker and a relay (of which one leads)."""
    command = [sys.executable, "-m", "services.loyalty", "--only", "worker", "--only", "relay"]
    processes = [subprocess.Popen(command, env=scene.environment) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)
