"""Looking at the topics from outside, in no group: how far they are, how far each group is, what is in them."""

import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Literal, Self

import tenacity
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
)

from chassis.envelope import Raw

TIMEOUT_MS = 5000
POLL_MS = 500
PEEK_MS = 20
"""aiokafka waits for so long also where all that it fetched was passed over."""
PARTITION_FETCH_BYTES = 64 * 1024
"""A look at what waits fetches a little of each partition, however much waits."""
Start = Literal["beginning", "end"] | datetime
BusTrouble = KafkaError
"""What a `TopicReader` raises, for those who know nothing of aiokafka."""


@dataclass(frozen=True)
class TopicState:
    """It has at most `offsets` records: compaction and the marks of transactions leave gaps between offsets."""

    name: str
    partitions: int
    first_offset: int
    offsets: int


@dataclass(frozen=True)
class GroupState:
    """How far behind a group is on a topic, and how many of its offsets it has done.

    At most `lag` records wait, for marks of transactions lie between them; where it is 0 none does.
    """

    lag: int
    done: int


class TopicReader:
    """A look at the bus: `async with TopicReader("host:port") as bus`. Raises BusTrouble."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            client_id="kopilka-reader",
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            request_timeout_ms=TIMEOUT_MS,
            metadata_max_age_ms=5000,
        )
        self._admin = AIOKafkaAdminClient(
            bootstrap_servers=bootstrap_servers, client_id="kopilka-reader", request_timeout_ms=TIMEOUT_MS
        )

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
            await self._admin.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await self._admin.close()
        await self._consumer.stop()

    async def names(self) -> list[str]:
        """Every topic that is there, Kafka's own left out."""
        return sorted(name for name in await self._admin.list_topics() if not name.startswith("__"))

    async def states(self, topics: Collection[str]) -> dict[str, TopicState]:
        """How many partitions and offsets each of the topics has; a topic that is not there is left out."""
        partitions = await self._partitions(topics)
        first = await self._consumer.beginning_offsets(partitions) if partitions else {}
        last = await self._consumer.end_offsets(partitions) if partitions else {}
        states = {}
        for topic in {partition.topic for partition in partitions}:
            mine = [partition for partition in partitions if partition.topic == topic]
            begin = sum(first[partition] for partition in mine)
            states[topic] = TopicState(topic, len(mine), begin, sum(last[partition] for partition in mine) - begin)
        return states

    async def ends(self, topics: Collection[str]) -> dict[TopicPartition, int]:
        """The offset behind the last committed record of each partition."""
        partitions = await self._partitions(topics)
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(partitions) if partitions else {}
        return ends

    async def committed(self, group: str) -> dict[TopicPartition, int]:
        """How far the group has got, in the partitions where it has committed anything."""
        async for attempt in _while_coordinators_start():
            with attempt:
                offsets = await self._admin.list_consumer_group_offsets(group)
        return {partition: at.offset for partition, at in offsets.items() if at.offset >= 0}

    async def group_states(
        self, group: str, topics: Collection[str], ends: Mapping[TopicPartition, int]
    ) -> dict[str, GroupState]:
        """How far the group is on each of the topics, whose partitions end at `ends`."""
        mine = {partition: end for partition, end in ends.items() if partition.topic in topics}
        waits_from = await self._waits_from(group, mine)
        return {topic: _group_state(topic, mine, waits_from) for topic in topics}

    async def _waits_from(self, group: str, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """The first record of each partition that the group has yet to hear; the end where there is none.

        Behind what it has heard may lie what nobody hears: marks of transactions, aborted records, offsets whose
        records are gone. A worker commits past it, but not one that was stopped before it saw it, or does not run.
        """
        committed = await self.committed(group)
        stands = {partition: min(committed.get(partition, 0), end) for partition, end in ends.items()}
        behind = {partition: at for partition, at in stands.items() if at < ends[partition]}
        return stands | (await self._first_records(behind, ends) if behind else {})

    async def _first_records(
        self, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """The first record of each partition from its start on; the end where there is none before it."""
        self._consumer.assign(list(starts))
        for partition, at in starts.items():
            self._consumer.seek(partition, at)
        found: dict[TopicPartition, int] = {}
        while unseen := starts.keys() - found.keys():
            fetched = await self._consumer.getmany(*unseen, timeout_ms=PEEK_MS)
            for partition in unseen:
                at = fetched[partition][0].offset if partition in fetched else await self._consumer.position(partition)
                if partition in fetched or at >= ends[partition]:
                    found[partition] = min(at, ends[partition])
            self._consumer.pause(*found)
        self._consumer.unsubscribe()
        return found

    async def read(self, topic: str, *, start: Start, last: int = 0, follow: bool) -> AsyncIterator[Raw]:
        """The topic's records, oldest first per partition.

        From its beginning, from the first one of a moment or later, or from `last` offsets before the end of each
        partition. Without `follow` until where the topic ended when the reading began. Raises KeyError where there is
        no such topic.
        """
        partitions = await self._partitions([topic])
        if not partitions:
            raise KeyError(topic)
        first = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        if isinstance(start, datetime):
            starts = {p: ends[p] if at is None else at for p, at in (await self._since(partitions, start)).items()}
        else:
            starts = first if start == "beginning" else {p: max(first[p], ends[p] - last) for p in partitions}
        self._consumer.assign(partitions)
        for partition in partitions:
            self._consumer.seek(partition, starts[partition])
        unread = {partition for partition in partitions if starts[partition] < ends[partition]}
        while follow or unread:
            fetched: Mapping[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(timeout_ms=POLL_MS)
            for record in _by_time(fetched.values()):
                if follow or record.offset < ends[TopicPartition(topic, record.partition)]:
                    yield _raw(record)
            # The position, not the last record: behind it there may be only marks of transactions.
            unread = {each for each in unread if await self._consumer.position(each) < ends[each]}

    async def is_whole_since(self, topic: str, moment: datetime) -> bool:
        """Whether the topic still has all that was published at that moment and later, as far as can be told."""
        partitions = await self._partitions([topic])
        first = await self._consumer.beginning_offsets(partitions)
        end = await self._consumer.end_offsets(partitions)
        since = await self._since(partitions, moment)
        return not any(
            first[partition] > 0 and first[partition] in (since[partition], end[partition]) for partition in partitions
        )

    async def _since(
        self, partitions: Collection[TopicPartition], moment: datetime
    ) -> dict[TopicPartition, int | None]:
        """The offset of each partition's first record of that moment or later; None where there is none."""
        asked = {partition: int(moment.timestamp() * 1000) for partition in partitions}
        found = await self._consumer.offsets_for_times(asked)
        return {partition: at.offset if (at := found[partition]) is not None else None for partition in partitions}

    async def _partitions(self, topics: Collection[str]) -> list[TopicPartition]:
        """Asked of the brokers, for the consumer itself learns of a new topic only now and then."""
        if not topics:
            return []
        described = await self._admin.describe_topics(list(topics))
        found = [topic for topic in described if topic["error_code"] == 0]
        # Or else it learns of them one after the other, each a tenth of a second after the one before.
        await self._consumer._client.set_topics({topic["topic"] for topic in found})
        return [TopicPartition(topic["topic"], each["partition"]) for topic in found for each in topic["partitions"]]


def _group_state(
    topic: str, ends: Mapping[TopicPartition, int], waits_from: Mapping[TopicPartition, int]
) -> GroupState:
    mine = [partition for partition in ends if partition.topic == topic]
    done = sum(waits_from[partition] for partition in mine)
    return GroupState(lag=sum(ends[partition] for partition in mine) - done, done=done)


class Rate:
    """How fast a count grows: records a second over the last `over_s` seconds."""

    def __init__(self, over_s: float = 10) -> None:
        self._over_s = over_s
        self._seen: list[tuple[float, int]] = []

    def see(self, count: int, *, at: float | None = None) -> float:
        """Take the count of this moment (`at`: of that one, in seconds) and give the rate."""
        now = time.monotonic() if at is None else at
        self._seen = [seen for seen in self._seen if now - seen[0] <= self._over_s and seen[1] <= count]
        self._seen.append((now, count))
        then, before = self._seen[0]
        passed = now - then
        return (count - before) / passed if passed > 0 else 0.0


def _while_coordinators_start() -> tenacity.AsyncRetrying:
    """A cluster that has never had a group makes the topic of their offsets at the first question about one."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(
            (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
        ),
        wait=tenacity.wait_fixed(0.2),
        stop=tenacity.stop_after_delay(5),
        reraise=True,
    )


def _by_time(batches: Iterable[list[ConsumerRecord]]) -> list[ConsumerRecord]:
    """A stable order for the eye across partitions; within one it is the offsets' order anyway."""
    records = [record for batch in batches for record in batch]
    return sorted(records, key=lambda record: record.timestamp)


def _raw(record: ConsumerRecord) -> Raw:
    return Raw(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
    )
