"""Publishing for programs that are no service (sandbox tills, benchmarks, tests): a service has its outbox."""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, NamedTuple, Self
from uuid import UUID

from aiokafka import AIOKafkaProducer

from chassis import envelope, record_batches
from chassis.envelope import encode
from chassis.outbox import Word
from chassis.record_batches import NoSuchTopic
from chassis.retrying import trying
from chassis.tracing import current_traceparent
from contracts.records import Record

RECORD_MAX_BYTES: Final = envelope.RECORD_MAX_BYTES
REQUEST_TIMEOUT_MS: Final = 10_000
CLOSE_TIMEOUT_S: Final = 3


class NotPublished(Exception):
    """What was being published may or may not be on its topic: publish it again, with the same event ids."""


class Publication(NamedTuple):
    """A record to be published, with its CloudEvents attributes. The trace is the current one where none is named."""

    record: Record
    event_id: UUID
    source: str
    time: datetime
    traceparent: str | None = None

    def word(self) -> Word:
        """Its bytes."""
        headers, value = encode(
            self.record,
            event_id=self.event_id,
            source=self.source,
            time=self.time,
            traceparent=self.traceparent or current_traceparent(),
        )
        return Word(self.record.topic, self.record.key.encode(), headers, value)


class Publisher:
    """`async with Publisher("host:port") as publisher`: idempotent, acknowledged by all replicas, in order.

    Whatever waits while a round of records is under way makes the next round, so that many small calls at once cost
    little more than one large one. Each call returns when its records are acknowledged, and waits for as long as Kafka
    is away (bound it with `asyncio.timeout`). It raises NotPublished where waiting is no use (no such topic), or where
    the publisher is closed meanwhile; ValueError for a record over RECORD_MAX_BYTES, before anything is sent.
    """

    def __init__(self, bootstrap_servers: str, *, client_id: str = "kopilka-publisher") -> None:
        self.bootstrap_servers = bootstrap_servers
        self.client_id = client_id
        self._waiting: list[tuple[Sequence[Word], asyncio.Future[None]]] = []
        self._awake = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sending = asyncio.create_task(self._keep_sending())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
            self._sending = None
        self._fail(self._waiting, "the publisher was closed")
        await self._drop_producer()

    async def publish(
        self, record: Record, *, event_id: UUID, source: str, time: datetime, traceparent: str | None = None
    ) -> None:
        """Publish one record; `event_id` is the same at every try."""
        await self.publish_many([Publication(record, event_id, source, time, traceparent)])

    async def publish_many(self, publications: Iterable[Publication]) -> None:
        """Publish records in their order: thousands a second."""
        await self.publish_words([publication.word() for publication in publications])

    async def publish_words(self, words: Sequence[Word]) -> None:
        """Publish bytes as they are, in their order: what is encoded already, or what no contract lets through."""
        for word in words:
            size = len(word.value or b"")
            if size > RECORD_MAX_BYTES:
                raise ValueError(
                    f"a record for {word.topic} has {size} bytes, at most {RECORD_MAX_BYTES} can be published"
                )
        if self._sending is None:
            raise NotPublished("the publisher is closed")
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((words, done))
        self._awake.set()
        await done

    async def _keep_sending(self) -> None:
        """Round after round. Where one fails, what waits behind it fails too, so that nothing overtakes its retry."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            under_way, self._waiting = self._waiting, []
            try:
                await self._send([word for words, _ in under_way for word in words])
            except Exception as error:
                self._fail(under_way + self._waiting, _told(error), cause=error)
                await self._drop_producer()
            except asyncio.CancelledError:
                self._fail(under_way, "the publisher was closed")
                raise
            for _, done in under_way:
                if not done.done():
                    done.set_result(None)

    def _fail(
        self,
        calls: Sequence[tuple[Sequence[Word], asyncio.Future[None]]],
        why: str,
        *,
        cause: BaseException | None = None,
    ) -> None:
        self._waiting = []
        for _, done in calls:
            if not done.done():
                failure = NotPublished(why)
                failure.__cause__ = cause
                done.set_exception(failure)

    async def _send(self, words: Sequence[Word]) -> None:
        try:
            await record_batches.send(await self._opened(), words)
        except NoSuchTopic as error:
            raise NotPublished(str(error)) from None

    async def _opened(self) -> AIOKafkaProducer:
        """The producer; the first time, or after a failure, a new one, once Kafka answers."""
        if self._producer is None:
            async for attempt in trying(self.client_id, "publish", gives_up=lambda: False):
                with attempt:
                    self._producer = await self._open()
        return self._producer

    async def _open(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers,
            client_id=self.client_id,
            acks="all",
            enable_idempotence=True,
            max_batch_size=record_batches.BATCH_MAX_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _drop_producer(self) -> None:
        """Close the producer; one with unsent records would wait for Kafka for ever and is given CLOSE_TIMEOUT_S."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with contextlib.suppress(Exception):
            await asyncio.wait_for(producer.stop(), CLOSE_TIMEOUT_S)
            return
        producer._sender.sender_task.cancel()  # stop() was interrupted before it came to that
        with contextlib.suppress(Exception):
            await asyncio.wait_for(producer.client.close(), CLOSE_TIMEOUT_S)


def _told(error: BaseException) -> str:
    """What to tell of a failure."""
    return str(error) if isinstance(error, NotPublished) else f"Kafka refused it: {error!r}"
