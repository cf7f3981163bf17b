"""The worker: takes batches off the bus, has them delivered, and commits their offsets after the database."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
import tenacity
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from chassis import metrics
from chassis.database import BATCH_CONNECTIONS
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
BATCHES_AT_ONCE = BATCH_CONNECTIONS
"""Of which the second begins only when it is full: under a backlog one waits for PostgreSQL while the other one works;
below that, each batch having a fixed cost, one batch of all is quicker than two halves."""


@dataclass
class Batch:
    """Records taken together, and where each partition stands behind them."""

    assignment: int
    """The assignment of partitions that the batch was taken under; under another one it is somebody else's."""
    items: list[Item] = field(default_factory=list)
    positions: dict[TopicPartition, int] = field(default_factory=dict)


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer of a service's group. Order per partition: no two batches in hand have one in common.

    While a batch is in hand the next one is gathered and decoded, until this one is done, or it is full and can begin
    beside this one: so a record waits for no more than the batch before its own. Offsets are committed while the next
    batch is in hand.
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
        self._behind: dict[TopicPartition, int] = {}
        self._in_hand: dict[asyncio.Task[None], Batch] = {}
        self._committing: asyncio.Task[None] | None = None
        self._commit_turn = asyncio.Lock()
        self._halted = False
        self._trying_to_fetch = self._trying("fetch", self._is_stopping)
        self._revoking = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; the batches in hand are finished and committed."""
        self._stop = stop
        self.consumer = self._consumer()
        if not await self._start():
            return
        stopping = asyncio.create_task(stop.wait())
        taking = asyncio.create_task(self._take())
        try:
            while not (stop.is_set() or self._halted):
                await asyncio.wait({taking, stopping, *self._in_hand}, return_when=asyncio.FIRST_COMPLETED)
                for done in [task for task in self._in_hand if task.done()]:
                    del self._in_hand[done]
                    done.result()
                if taking.done() and not stop.is_set():
                    self._begin(taking.result())
                    taking = asyncio.create_task(self._take())
            await asyncio.gather(*self._in_hand)
            await self._offsets_committed()
            await stop.wait()
        finally:
            tasks = [task for task in (taking, stopping, self._committing, *self._in_hand) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.consumer.stop()

    def _begin(self, batch: Batch) -> None:
        self._in_hand[asyncio.create_task(self._process(batch))] = batch

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
        """Wait for records, or for a partition to stand further on, and decode them; go on until they can begin.

        What was gathered before the partitions changed hands is dropped. Raises what kept offsets from being committed.
        """
        batch = Batch(self.assignment)
        while True:
            if self._committing is not None and self._committing.done():
                self._committing.result()
            if len(batch.items) < self.settings.batch_records:
                batch = await self._gathered(batch)
            if self._can_begin(batch):
                failpoint("after_decode")
                return batch
            if others := self._at_work():
                await asyncio.wait(others, timeout=GATHER_S, return_when=asyncio.FIRST_COMPLETED)

    async def _gathered(self, batch: Batch) -> Batch:
        """The batch with what came meanwhile, or a new one where the partitions have changed hands.

        aiokafka gives nothing while they do: only right behind a fetch are the positions those of this assignment.
        """
        fetched = await self._fetch(batch)
        if batch.assignment != self.assignment:
            batch = Batch(self.assignment)
        batch.positions |= await self._positions()
        batch.items += await self._decoded(fetched)
        return batch

    def _at_work(self) -> dict[asyncio.Task[None], Batch]:
        return {task: batch for task, batch in self._in_hand.items() if not task.done()}

    def _can_begin(self, batch: Batch) -> bool:
        """Something, when nothing else is in hand; when it is full, beside others that have no partition of its own."""
        others = self._at_work().values()
        if not others:
            return bool(batch.items or batch.positions)
        return (
            len(others) < BATCHES_AT_ONCE
            and len(batch.items) >= self.settings.batch_records
            and not any(batch.positions.keys() & other.positions.keys() for other in others)
        )

    async def _fetch(self, batch: Batch) -> Sequence[ConsumerRecord]:
        """What there is room for in the batch; where it is empty, wait a while for something.

        From partitions that no batch in hand has, if they have enough to fill it: then it can begin beside those.
        """
        room = self.settings.batch_records - len(batch.items)
        free = self._free_partitions()
        if (
            free
            and sum(self._behind[each] for each in free) >= room
            and (fetched := await self._fetched(0, room, free))
        ):
            return fetched
        return await self._fetched(0 if batch.items else FETCH_WAIT_MS, room)

    def _free_partitions(self) -> Sequence[TopicPartition]:
        """Those that no batch in hand has, where there is one."""
        others = self._at_work().values()
        return [each for each in self._behind if not any(each in other.positions for other in others)] if others else ()

    async def _fetched(
        self, wait_ms: int, room: int, partitions: Sequence[TopicPartition] = ()
    ) -> Sequence[ConsumerRecord]:
        async for attempt in self._trying_to_fetch:
            with attempt:
                fetched: dict[TopicPartition, list[ConsumerRecord]] = await self.consumer.getmany(
                    *partitions, timeout_ms=wait_ms, max_records=room
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
            self._behind[partition] = behind = max(0, end - position)
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
            async with self._commit_turn:
                await self._offsets_committed()
                self._committing = asyncio.create_task(self._commit(batch))
        except CapReached as cap:
            self._halt(str(cap))
        except Exception:
            if not self._gives_up(batch):
                raise

    async def _offsets_committed(self) -> None:
        if self._committing is not None:
            await self._committing

    def _is_at_rest(self) -> bool:
        """Whether no batch is in hand, and the offsets of the last one are committed."""
        return not self._at_work() and (self._committing is None or self._committing.done())

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

    def _halt(self, why: str) -> None:
        """Stand still until the service is started again; other instances meet the same records and halt too."""
        log.error("worker_halted", group=self.group, why=why)
        metrics.halted.labels(self.group).set(1)
        self.progress.halt(why)
        self._halted = True

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
        """Let what is in hand finish before the partitions go to another worker; what was taken ahead is dropped."""
        self._revoking = True
        try:
            async with asyncio.timeout(REVOKE_WAIT_S):
                if in_hand := self._at_work():
                    await asyncio.wait(in_hand)
                if self._committing is not None:
                    await asyncio.wait([self._committing])
        except TimeoutError:
            log.warning("revoked_in_flight", group=self.group)
        self._revoking = False
        self.assignment += 1
        self._taken.clear()
        self._behind.clear()
        for partition in revoked:
            metrics.lag_records.labels(self.group, partition.topic, partition.partition).set(0)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("partitions_assigned", group=self.group, partitions=len(assigned))
