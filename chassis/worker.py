"""The worker: takes batches off the bus, has them delivered, and commits their offsets after the database."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
import tenacity
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from chassis import metrics
from chassis.dead_letters import CapReached, DeadLetter
from chassis.delivery import Delivery, Item
from chassis.envelope import Raw, Unprocessable, decode
from chassis.failpoints import failpoint
from chassis.health import Progress
from chassis.hears import Hears
from chassis.retrying import trying
from chassis.settings import Settings

log = structlog.get_logger()

FETCH_WAIT_MS = 100
"""aiokafka has one fetch a broker under way, for the partitions it has nothing of: other records wait for it."""
REVOKE_WAIT_S = 20
DECODED_AT_ONCE = 16


@dataclass
class Batch:
    """Records taken at once, and where each partition stands behind them."""

    items: Sequence[Item]
    positions: dict[TopicPartition, int]
    assignment: int
    """The assignment of partitions that the batch was taken under; under another one it is somebody else's."""


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer of a service's group. Order per partition; the next batch is decoded while this one's SQL runs."""

    def __init__(self, group: str, hears: Hears, delivery: Delivery, settings: Settings) -> None:
        self.group = group
        self.hears = hears
        self.known = hears.known
        self.delivery = delivery
        self.settings = settings
        self.progress = Progress(settings.stall_timeout_s)
        self.assignment = 0
        self._taken: dict[TopicPartition, int] = {}
        self._at_rest = asyncio.Event()
        self._at_rest.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; the batch in hand is finished and committed."""
        self._stop = stop
        self.consumer = self._consumer()
        if not await self._start():
            return
        stopping = asyncio.create_task(stop.wait())
        taking = asyncio.create_task(self._take())
        try:
            while not stop.is_set():
                await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    break
                batch = taking.result()
                taking = asyncio.create_task(self._take())
                await self._process(batch)
        finally:
            for task in (taking, stopping):
                task.cancel()
            await asyncio.gather(taking, stopping, return_exceptions=True)
            await self.consumer.stop()

    def _consumer(self) -> AIOKafkaConsumer:
        session_ms = int(self.settings.session_timeout_s * 1000)
        return AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka,
            group_id=self.group,
            client_id=f"kopilka-{self.group}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 3,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=2 * 1024 * 1024,
        )

    async def _start(self) -> bool:
        """Join the group; False where the service was stopped before Kafka answered."""
        self.consumer.subscribe(topics=self.hears.topics, listener=self)
        try:
            async for attempt in self._trying("start", self._stop.is_set):
                with attempt:
                    await self.consumer.start()
        except KafkaError:
            if not self._stop.is_set():
                raise
            return False
        return True

    async def _take(self) -> Batch:
        """Wait for records, or for a partition to stand further on, and decode them."""
        while True:
            async for attempt in self._trying("fetch", self._stop.is_set):
                with attempt:
                    fetched: dict[TopicPartition, list[ConsumerRecord]] = await self.consumer.getmany(
                        timeout_ms=FETCH_WAIT_MS, max_records=self.settings.batch_records
                    )
            assignment = self.assignment
            positions = await self._positions()
            if fetched or positions:
                items = await self._decoded([record for records in fetched.values() for record in records])
                failpoint("after_decode")
                return Batch(items, positions, assignment)

    async def _positions(self) -> dict[TopicPartition, int]:
        """The partitions that stand further on than at the last batch, be it past transaction markers alone.

        Nothing here waits, so that no rebalance comes between the records and their positions.
        """
        positions = {}
        lag = 0
        for partition in self.consumer.assignment():
            end = self.consumer.last_stable_offset(partition)
            if end is None or end < 0:
                continue
            position = await self.consumer.position(partition)
            behind = max(0, end - position)
            lag += behind
            metrics.lag_records.labels(self.group, partition.topic, partition.partition).set(behind)
            if position != self._taken.get(partition):
                positions[partition] = position
        self._taken.update(positions)
        self.progress.seen_lag(lag + len(positions) + (not self._at_rest.is_set()))  # a batch in hand is not done
        return positions

    async def _decoded(self, records: Sequence[ConsumerRecord]) -> list[Item]:
        """A few at a time: in between the SQL of the batch before it goes on, and the relay."""
        items: list[Item] = []
        for start in range(0, len(records), DECODED_AT_ONCE):
            items += filter(None, map(self._decode, records[start : start + DECODED_AT_ONCE]))
            await asyncio.sleep(0)
        return items

    def _decode(self, record: ConsumerRecord) -> Item | None:
        raw = Raw(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            tuple(record.headers),
        )
        try:
            heard = decode(raw, self.known, value_max_bytes=self.settings.record_max_bytes)
        except Unprocessable as why:
            return DeadLetter(raw, why)
        if heard is None:
            metrics.skipped.labels(self.group, raw.topic).inc()
        return heard

    async def _process(self, batch: Batch) -> None:
        if self._is_foreign(batch):
            return
        self._at_rest.clear()
        try:
            if batch.items:
                await self._deliver(batch)
            await self._commit(batch)
        except CapReached as cap:
            await self._halt(str(cap))
        except Exception:
            if not self._gives_up(batch):
                raise
        finally:
            self._at_rest.set()

    async def _deliver(self, batch: Batch) -> None:
        started = time.perf_counter()
        metrics.batch_records.labels(self.group).observe(len(batch.items))
        async for attempt in self._trying("deliver", lambda: self._gives_up(batch)):
            with attempt:
                await self.delivery.deliver(batch.items)
        metrics.batch_s.labels(self.group).observe(time.perf_counter() - started)

    async def _commit(self, batch: Batch) -> None:
        failpoint("before_offset_commit")
        try:
            async for attempt in self._trying("commit", lambda: self._gives_up(batch)):
                with attempt:
                    await self.consumer.commit(batch.positions)
        except (CommitFailedError, IllegalStateError):
            log.warning("offsets_not_committed", group=self.group, why="the partitions went to another worker")
            return
        failpoint("after_offset_commit")
        self.progress.advanced()

    async def _halt(self, why: str) -> None:
        """Stand still until the service is started again; other instances meet the same records and halt too."""
        log.error("worker_halted", group=self.group, why=why)
        metrics.halted.labels(self.group).set(1)
        self.progress.halt(why)
        self._at_rest.set()
        await self._stop.wait()

    def _gives_up(self, batch: Batch) -> bool:
        return self._stop.is_set() or self._is_foreign(batch)

    def _is_foreign(self, batch: Batch) -> bool:
        """Whether the partitions were taken from this worker since: another one goes on from the committed offset."""
        return batch.assignment != self.assignment

    def _trying(self, what: str, gives_up: Callable[[], bool]) -> tenacity.AsyncRetrying:
        return trying(self.group, what, gives_up=gives_up)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Let the batch in hand finish before the partitions go to another worker; what was taken ahead is dropped."""
        try:
            await asyncio.wait_for(self._at_rest.wait(), REVOKE_WAIT_S)
        except TimeoutError:
            log.warning("revoked_in_flight", group=self.group)
        self.assignment += 1
        self._taken.clear()
        for partition in revoked:
            metrics.lag_records.labels(self.group, partition.topic, partition.partition).set(0)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("partitions_assigned", group=self.group, partitions=len(assigned))
