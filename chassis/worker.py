"""The worker: takes batches off the bus, has them delivered, and commits their offsets after the database."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
GATHER_S = 0.01
"""How often what came while a batch is in hand is taken out of aiokafka, which fetches nothing more before that."""
REVOKE_WAIT_S = 20
DECODED_AT_ONCE = 16


@dataclass
class Batch:
    """Records taken together, and where each partition stands behind them."""

    assignment: int
    """The assignment of partitions that the batch was taken under; under another one it is somebody else's."""
    items: list[Item] = field(default_factory=list)
    positions: dict[TopicPartition, int] = field(default_factory=dict)


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer of a service's group. Order per partition.

    While a batch is in hand the next one is gathered and decoded, until it is full or this one is done: so a record
    waits for no more than the batch before its own. Offsets are committed while the next batch is in hand.
    """

    def __init__(self, group: str, hears: Hears, delivery: Delivery, settings: Settings) -> None:
        self.group = group
        self.hears = hears
        self.known = hears.known
        self.delivery = delivery
        self.settings = settings
        self.progress = Progress(settings.stall_timeout_s)
        self.assignment = 0
        self._taken: dict[TopicPartition, int] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._committing: asyncio.Task[None] | None = None
        self._trying_to_fetch = self._trying("fetch", self._is_stopping)
        self._revoking = False

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
                self._idle.clear()
                taking = asyncio.create_task(self._take())
                await self._process(batch)
                self._idle.set()
            await self._offsets_committed()
        finally:
            tasks = [task for task in (taking, stopping, self._committing) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
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
        """Wait for records, or for a partition to stand further on, and decode them; go on while a batch is in hand.

        What was gathered before the partitions changed hands is dropped. Raises what kept offsets from being committed.
        """
        batch = Batch(self.assignment)
        while True:
            if self._committing is not None and self._committing.done():
                self._committing.result()
            fetched = await self._fetch(batch)
            if batch.assignment != self.assignment:
                batch = Batch(self.assignment)
            batch.positions |= await self._positions()
            batch.items += await self._decoded(fetched)
            if not (batch.items or batch.positions):
                continue
            if self._idle.is_set() or len(batch.items) >= self.settings.batch_records:
                failpoint("after_decode")
                return batch
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), GATHER_S)

    async def _fetch(self, batch: Batch) -> Sequence[ConsumerRecord]:
        """What there is room for in the batch; where it is empty, wait a while for something."""
        async for attempt in self._trying_to_fetch:
            with attempt:
                fetched: dict[TopicPartition, list[ConsumerRecord]] = await self.consumer.getmany(
                    timeout_ms=0 if batch.items else FETCH_WAIT_MS,
                    max_records=self.settings.batch_records - len(batch.items),
                )
        return [record for records in fetched.values() for record in records]

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
        self.progress.seen_lag(lag + len(positions) + (not self._is_at_rest()))
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
        if self._revoking or self._is_foreign(batch):
            return
        try:
            if batch.items:
                await self._deliver(batch)
            await self._offsets_committed()
            self._committing = asyncio.create_task(self._commit(batch))
        except CapReached as cap:
            await self._halt(str(cap))
        except Exception:
            if not self._gives_up(batch):
                raise

    async def _offsets_committed(self) -> None:
        if self._committing is not None:
            await self._committing

    def _is_at_rest(self) -> bool:
        """Whether no batch is in hand, and the offsets of the last one are committed."""
        return self._idle.is_set() and (self._committing is None or self._committing.done())

    async def _deliver(self, batch: Batch) -> None:
        started = time.perf_counter()
        metrics.batch_records.labels(self.group).observe(len(batch.items))
        async for attempt in self._trying("deliver", self._giving_up(batch)):
            with attempt:
                await self.delivery.deliver(batch.items)
        metrics.batch_s.labels(self.group).observe(time.perf_counter() - started)

    async def _commit(self, batch: Batch) -> None:
        failpoint("before_offset_commit")
        try:
            async for attempt in self._trying("commit", self._giving_up(batch)):
                with attempt:
                    await self.consumer.commit(batch.positions)
        except (CommitFailedError, IllegalStateError):
            log.warning("offsets_not_committed", group=self.group, why="the partitions went to another worker")
            return
        except Exception:
            if not self._gives_up(batch):
                raise
            return
        failpoint("after_offset_commit")
        self.progress.advanced()

    async def _halt(self, why: str) -> None:
        """Stand still until the service is started again; other instances meet the same records and halt too."""
        log.error("worker_halted", group=self.group, why=why)
        metrics.halted.labels(self.group).set(1)
        self.progress.halt(why)
        self._idle.set()
        await self._stop.wait()

    def _is_stopping(self) -> bool:
        return self._stop.is_set()

    def _gives_up(self, batch: Batch) -> bool:
        return self._giving_up(batch)()

    def _giving_up(self, batch: Batch) -> Callable[[], bool]:
        """`_gives_up` that does not hold the batch: tenacity's objects are cycles, and would keep all of its records
        until the garbage collector comes, which then stands still for a tenth of a second."""
        assignment = batch.assignment
        return lambda: self._stop.is_set() or assignment != self.assignment

    def _is_foreign(self, batch: Batch) -> bool:
        """Whether the partitions were taken from this worker since: another one goes on from the committed offset."""
        return batch.assignment != self.assignment

    def _trying(self, what: str, gives_up: Callable[[], bool]) -> tenacity.AsyncRetrying:
        return trying(self.group, what, gives_up=gives_up)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Let the batch in hand finish before the partitions go to another worker; what was taken ahead is dropped."""
        self._revoking = True
        try:
            async with asyncio.timeout(REVOKE_WAIT_S):
                await self._idle.wait()
                if self._committing is not None:
                    await asyncio.wait([self._committing])
        except TimeoutError:
            log.warning("revoked_in_flight", group=self.group)
        self._revoking = False
        self.assignment += 1
        self._taken.clear()
        for partition in revoked:
            metrics.lag_records.labels(self.group, partition.topic, partition.partition).set(0)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("partitions_assigned", group=self.group, partitions=len(assigned))
