"""The relay: publishes the outbox, each row once and in order, whatever is killed or frozen in between.

One relay a service leads at a time (an advisory lock). It publishes in rounds. A round is first recorded in the
database (`outbox_round`: the ids of its rows and a token), then sent as one Kafka transaction that also commits the
token, as the metadata of a consumer-group offset, then deleted. Whoever takes over compares the two tokens: equal
means that the round is on the topics whole, different means that nothing of it is. Becoming the transactional
producer fences a predecessor that froze and woke: whatever it still sends is refused by the brokers.
See docs/decisions for the alternatives that were weighed.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import sqlalchemy as sa
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from chassis import metrics, record_batches
from chassis.database import Database
from chassis.envelope import unpack_headers
from chassis.failpoints import failpoint
from chassis.ids import new_id
from chassis.outbox import Word
from chassis.retrying import trying
from chassis.settings import Settings

log = structlog.get_logger()

LOCK = "SELECT pg_try_advisory_lock(hashtextextended('kopilka.relay', 0))"
LAST_ROUND = "SELECT token, ids FROM outbox_round"
FINISH = "DELETE FROM outbox WHERE id = ANY ($1::bigint[])"
NEXT = """
SELECT id, topic, key, headers, value, said_at FROM outbox ORDER BY id LIMIT $1
"""
BEGIN_ROUND = """
INSERT INTO outbox_round (token, ids) VALUES ($1, $2)
ON CONFLICT (singleton) DO UPDATE SET token = excluded.token, ids = excluded.ids
"""
CHANNEL = "outbox"
ROUND_MAX_BYTES = 16 * 1024 * 1024
TRANSACTION_TIMEOUT_MS = 10_000
TOKEN_PARTITION = TopicPartition("customers.events", 0)
"""Any partition that is always there: the token is the metadata of an offset of it, of the relay's own group."""
ROUND_INTERVAL_S = 0.05
"""From one round's beginning to the next one's: what is said in many small transactions shares a Kafka transaction,
which costs as much for one record as for a thousand."""
ANNOUNCE = "SELECT pg_notify('outbox', '')"
ANNOUNCE_INTERVAL_S = 0.02
STOPPED_IN_TROUBLE = (
    KafkaError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
Row = Any


class Relay:
    """Publishes what one service says. `wake()` after a commit; it also looks by itself now and then."""

    def __init__(self, service: str, database: Database, settings: Settings) -> None:
        self.service = service
        self.database = database
        self.settings = settings
        self.leads = False
        self._awake = asyncio.Event()

    @property
    def group(self) -> str:
        """The consumer group whose offset metadata is the token of the last published round."""
        return f"{self.service}.relay"

    def wake(self) -> None:
        """Something was committed to the outbox."""
        self._awake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Lead whenever nobody else does, until `stop`; what was committed before the stop is published."""
        waiter = asyncio.create_task(stop.wait())
        waiter.add_done_callback(lambda _: self._awake.set())
        try:
            while not stop.is_set():
                with contextlib.suppress(*STOPPED_IN_TROUBLE):
                    async for attempt in trying(self.service, "relay", gives_up=stop.is_set, max_wait_s=2):
                        with attempt:
                            await self._lead_when_free(stop)
        finally:
            waiter.cancel()

    async def _lead_when_free(self, stop: asyncio.Event) -> None:
        async with self._session() as session:
            if not await session.fetchval(LOCK):
                await self._idle(self.settings.relay_poll_s)
                return
            async with self._producer() as producer:
                await _fence_predecessors(producer)
                await self._resolve_last_round(session)
                log.info("relay_leads", service=self.service)
                self._leading(True)
                try:
                    await self._publish(session, producer, stop)
                finally:
                    self._leading(False)

    async def _publish(self, session: asyncpg.Connection, producer: AIOKafkaProducer, stop: asyncio.Event) -> None:
        """Round after round. When told to stop it looks once more, with a snapshot younger than the stop."""
        await session.add_listener(CHANNEL, lambda *_: self.wake())
        sent: list[int] = []
        while True:
            next_round = asyncio.get_running_loop().time() + ROUND_INTERVAL_S
            self._awake.clear()
            stopping = stop.is_set()
            token = new_id()
            rows = await self._begin_round(session, sent, token)
            if rows:
                await self._send(producer, rows, token)
                failpoint("between_send_and_delete")
                sent = [row["id"] for row in rows]
                if len(rows) < self.settings.relay_batch_records and not stop.is_set():
                    await asyncio.sleep(next_round - asyncio.get_running_loop().time())
            elif stopping:
                return
            else:
                sent = []
                await self._idle(self.settings.relay_poll_s)

    async def _begin_round(self, session: asyncpg.Connection, sent: Sequence[int], token: UUID) -> list[Row]:
        """Delete what the last round sent and record the next one, in one transaction of the locking session."""
        async with session.transaction():
            if sent:
                await session.execute(FINISH, sent)
            rows = _within(await session.fetch(NEXT, self.settings.relay_batch_records), ROUND_MAX_BYTES)
            if rows or sent:
                await session.execute(BEGIN_ROUND, token, [row["id"] for row in rows])
        metrics.outbox_age_s.labels(self.service).set(time.time() - rows[0]["said_at"].timestamp() if rows else 0)
        return rows

    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[Row], token: UUID) -> None:
        """One Kafka transaction: all the rows and the token, or nothing."""
        async with producer.transaction():
            await record_batches.send(
                producer, [Word(row["topic"], row["key"], unpack_headers(row["headers"]), row["value"]) for row in rows]
            )
            await producer.send_offsets_to_transaction({TOKEN_PARTITION: OffsetAndMetadata(0, token.hex)}, self.group)
            failpoint("before_publish_commit")
        for topic, count in Counter(row["topic"] for row in rows).items():
            metrics.published.labels(self.service, topic).inc(count)

    async def _resolve_last_round(self, session: asyncpg.Connection) -> None:
        """Finish what a predecessor began: with its token known to Kafka its round is there whole, else not at all."""
        last = await session.fetchrow(LAST_ROUND)
        if last is None or not last["ids"]:
            return
        published = await self._published_token() == last["token"].hex
        log.info("relay_resolves_round", service=self.service, rows=len(last["ids"]), published=published)
        if published:
            await session.execute(FINISH, last["ids"])

    async def _published_token(self) -> str | None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(self.group, partitions=[TOKEN_PARTITION])
        finally:
            await admin.close()
        found = offsets.get(TOKEN_PARTITION)
        return found.metadata if found is not None and found.offset >= 0 else None

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncpg.Connection]:
        """The connection that holds the lock and does all of the relay's SQL: no lock without it, and no round.

        PostgreSQL ends it when the process falls silent (a freeze), so that another relay can take over.
        """
        lease_ms = str(int(self.settings.relay_lease_s * 1000))
        session = await asyncpg.connect(
            self.database.url.set(drivername="postgresql").render_as_string(hide_password=False),
            timeout=10,
            command_timeout=30,
            server_settings={
                "application_name": f"kopilka-{self.service}-relay",
                "idle_session_timeout": lease_ms,
                "idle_in_transaction_session_timeout": lease_ms,
                "plan_cache_mode": "force_generic_plan",
                "jit": "off",
            },
        )
        try:
            yield session
        finally:
            with contextlib.suppress(Exception):
                await session.close(timeout=2)

    @contextlib.asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka,
            client_id=f"kopilka-{self.service}-relay",
            transactional_id=f"kopilka.{self.service}.relay",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            max_batch_size=record_batches.BATCH_MAX_BYTES,
            request_timeout_ms=TRANSACTION_TIMEOUT_MS,
        )
        await producer.start()
        try:
            yield producer
        finally:
            with contextlib.suppress(KafkaError):
                await asyncio.wait_for(producer.stop(), 5)

    def _leading(self, leads: bool) -> None:
        self.leads = leads
        metrics.relay_leads.labels(self.service).set(leads)

    async def _idle(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._awake.wait(), timeout_s)


class Announcer:
    """Wakes a relay that leads in another process: by NOTIFY after the commit, at most once an interval.

    Inside the committing transactions NOTIFY would make them queue for one lock.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._announcing: asyncio.Task[None] | None = None

    def announce(self) -> None:
        """Something was committed to the outbox."""
        if self._announcing is None or self._announcing.done():
            self._announcing = asyncio.create_task(self._announce())

    async def _announce(self) -> None:
        await asyncio.sleep(ANNOUNCE_INTERVAL_S)
        with contextlib.suppress(sa.exc.DBAPIError, sa.exc.TimeoutError, *STOPPED_IN_TROUBLE):
            async with self.database.looking() as tx:
                await tx.sql(ANNOUNCE)


async def _fence_predecessors(producer: AIOKafkaProducer) -> None:
    """Become the one producer of this transactional id: an open transaction of a predecessor is aborted, and what it
    still sends is refused. Beginning a transaction is what makes aiokafka wait for that; an empty one costs nothing."""
    await producer.begin_transaction()
    await producer.abort_transaction()


def _within(rows: Sequence[Row], most_bytes: int) -> list[Row]:
    """As many of the first rows as are not larger than that together, but one at least."""
    size = 0
    for count, row in enumerate(rows):
        size += len(row["value"] or b"")
        if size > most_bytes and count:
            return list(rows[:count])
    return list(rows)
