import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import KafkaConnectionError

from chassis import topic_reading
from chassis.envelope import Raw
from chassis.provisioning import provision
from chassis.topic_reading import PARTITION_FETCH_BYTES, GroupState, Rate, TopicReader
from contracts.topics import Topic
from tests.harness import ends, until
from tests.infra import Kafka


@pytest.fixture
async def topic(kafka: Kafka) -> str:
    name = f"reading.{uuid.uuid4().hex[:8]}"
    await provision(kafka.bootstrap, [Topic(name, "tests", "none", "", partitions=2)], replication=1)
    return name


@pytest.fixture
async def bus(kafka: Kafka) -> AsyncIterator[TopicReader]:
    async with TopicReader(kafka.bootstrap) as reader:
        yield reader


async def publish(kafka: Kafka, topic: str, *values: bytes, partition: int = 0) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=partition, headers=[("ce_type", b"noted.v1")])


async def publish_in_transactions(kafka: Kafka, topic: str, *values: bytes, aborts: bool = False) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=uuid.uuid4().hex) as producer:
        for value in values:
            await producer.begin_transaction()
            await producer.send_and_wait(topic, value, partition=0)
            await (producer.abort_transaction() if aborts else producer.commit_transaction())


async def until_it_ends(bus: TopicReader, topic: str, offset: int) -> None:
    """A transaction that is decided becomes visible a little later."""

    async def ends() -> bool:
        return (await bus.ends([topic]))[TopicPartition(topic, 0)] == offset

    await until(ends, what=f"the topic ends at {offset}")


async def values(records: AsyncIterator[Raw]) -> list[bytes | None]:
    return [record.value async for record in records]


async def test_a_topic_is_read_from_its_beginning_to_where_it_ended(kafka: Kafka, bus: TopicReader, topic: str) -> None:
    await publish(kafka, topic, b"one", b"two")
    await publish(kafka, topic, b"three", partition=1)
    assert sorted(filter(None, await values(bus.read(topic, start="beginning", follow=False)))) == [
        b"one",
        b"three",
        b"two",
    ]


async def test_reading_ends_where_only_marks_of_transactions_are_left(
    kafka: Kafka, bus: TopicReader, topic: str
) -> None:
    await publish_in_transactions(kafka, topic, b"one", b"two")
    await until_it_ends(bus, topic, 4)
    assert await values(bus.read(topic, start="beginning", follow=False)) == [b"one", b"two"]


async def test_the_last_records_of_each_partition_are_read(kafka: Kafka, bus: TopicReader, topic: str) -> None:
    await publish(kafka, topic, b"one", b"two", b"three")
    await publish(kafka, topic, b"four", partition=1)
    assert sorted(filter(None, await values(bus.read(topic, start="end", last=2, follow=False)))) == [
        b"four",
        b"three",
        b"two",
    ]


async def publish_at(kafka: Kafka, topic: str, moment: datetime, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value, partition=0, timestamp_ms=int(moment.timestamp() * 1000))


async def delete_before(kafka: Kafka, topic: str, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(offset)})
    finally:
        await admin.close()


async def test_a_topic_is_read_from_a_moment_on(kafka: Kafka, bus: TopicReader, topic: str) -> None:
    noon = datetime.now(UTC) - timedelta(days=1)
    for hour, value in enumerate((b"one", b"two", b"three")):
        await publish_at(kafka, topic, noon + timedelta(hours=hour), value)
    assert await values(bus.read(topic, start=noon + timedelta(minutes=1), follow=False)) == [b"two", b"three"]
    assert await values(bus.read(topic, start=noon + timedelta(hours=3), follow=False)) == []


async def test_it_is_told_whether_what_was_published_since_is_still_there(
    kafka: Kafka, bus: TopicReader, topic: str
) -> None:
    noon = datetime.now(UTC) - timedelta(days=1)
    for hour, value in enumerate((b"one", b"two", b"three")):
        await publish_at(kafka, topic, noon + timedelta(hours=hour), value)
    assert await bus.is_whole_since(topic, noon - timedelta(days=7))
    await delete_before(kafka, topic, 1)
    assert not await bus.is_whole_since(topic, noon)
    assert not await bus.is_whole_since(topic, noon + timedelta(hours=1))
    assert await bus.is_whole_since(topic, noon + timedelta(hours=1, minutes=1))


async def first_of(records: AsyncIterator[Raw]) -> Raw:
    return await anext(records)


async def test_whoever_follows_gets_what_comes_later(kafka: Kafka, bus: TopicReader, topic: str) -> None:
    await publish(kafka, topic, b"before")
    following = bus.read(topic, start="end", follow=True)
    async with asyncio.timeout(20):
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(first_of(following))
            while not first.done():
                await publish(kafka, topic, b"after")
        assert first.result().value == b"after"
        assert first.result().headers == (("ce_type", b"noted.v1"),)


async def test_a_topic_that_is_not_there_is_told(bus: TopicReader) -> None:
    with pytest.raises(KeyError):
        await anext(bus.read("no.such.topic", start="beginning", follow=False))


async def test_a_topic_made_after_the_reader_is_seen(kafka: Kafka, bus: TopicReader) -> None:
    await bus.names()
    name = f"reading.{uuid.uuid4().hex[:8]}"
    await provision(kafka.bootstrap, [Topic(name, "tests", "none", "", partitions=3)], replication=1)
    assert name in await bus.names()
    assert (await bus.states([name]))[name].partitions == 3


@pytest.fixture
def group() -> str:
    return uuid.uuid4().hex


async def commit(kafka: Kafka, group: str, topic: str, offset: int) -> None:
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=group, enable_auto_commit=False
    ) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.commit({TopicPartition(topic, 0): offset})


async def state(bus: TopicReader, group: str, topic: str) -> GroupState:
    return (await bus.group_states(group, [topic], await bus.ends([topic])))[topic]


async def test_many_topics_are_looked_at_as_quickly_as_one(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"reading.many.{number}" for number in range(40)]
    await provision(kafka.bootstrap, [Topic(name, "tests", "none", "", partitions=1) for name in names], replication=1)
    await ends(kafka, names)
    monkeypatch.setattr(topic_reading, "TIMEOUT_MS", 2000)
    async with TopicReader(kafka.bootstrap) as bus:
        assert len(await bus.states(names)) == 40
        assert len(await bus.ends(names)) == 40


async def test_lag_is_what_a_group_has_not_committed(kafka: Kafka, bus: TopicReader, topic: str, group: str) -> None:
    await publish(kafka, topic, b"one", b"two", b"three")
    await publish(kafka, topic, b"four", partition=1)
    assert await state(bus, group, topic) == GroupState(lag=4, done=0)
    await commit(kafka, group, topic, 2)
    assert await state(bus, group, topic) == GroupState(lag=2, done=2)


async def test_marks_of_transactions_and_what_was_aborted_are_no_lag(
    kafka: Kafka, bus: TopicReader, topic: str, group: str
) -> None:
    await publish_in_transactions(kafka, topic, b"one")
    await commit(kafka, group, topic, 1)
    await until_it_ends(bus, topic, 2)
    assert await state(bus, group, topic) == GroupState(lag=0, done=2)
    await publish_in_transactions(kafka, topic, b"two", b"three", aborts=True)
    await until_it_ends(bus, topic, 6)
    assert await state(bus, group, topic) == GroupState(lag=0, done=6)


async def test_a_record_behind_marks_of_transactions_waits(
    kafka: Kafka, bus: TopicReader, topic: str, group: str
) -> None:
    await publish_in_transactions(kafka, topic, b"one")
    await publish_in_transactions(kafka, topic, b"two", aborts=True)
    await publish(kafka, topic, b"three")
    await publish(kafka, topic, b"four", partition=1)
    await commit(kafka, group, topic, 1)
    await until_it_ends(bus, topic, 5)
    assert await state(bus, group, topic) == GroupState(lag=2, done=4)


async def test_large_records_that_wait_in_several_partitions_are_all_seen(
    kafka: Kafka, bus: TopicReader, topic: str, group: str
) -> None:
    for partition in (0, 1):
        await publish(kafka, topic, bytes(4 * PARTITION_FETCH_BYTES), partition=partition)
    assert await state(bus, group, topic) == GroupState(lag=2, done=0)


async def test_records_that_are_gone_are_no_lag(kafka: Kafka, bus: TopicReader, topic: str, group: str) -> None:
    await publish(kafka, topic, b"one", b"two", b"three")
    await commit(kafka, group, topic, 1)
    await delete_before(kafka, topic, 2)
    assert await state(bus, group, topic) == GroupState(lag=1, done=2)
    await delete_before(kafka, topic, 3)
    assert await state(bus, group, topic) == GroupState(lag=0, done=3)


async def test_a_broker_that_is_away_raises_and_leaves_nothing_open() -> None:
    with pytest.raises(KafkaConnectionError):
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(TopicReader("127.0.0.1:1"))


def test_a_rate_is_of_the_last_seconds_only() -> None:
    rate = Rate(over_s=10)
    assert rate.see(1000, at=0) == 0
    assert rate.see(1050, at=5) == 10
    assert rate.see(1100, at=10) == 10
    assert rate.see(1100, at=20) == 0


def test_a_count_that_fell_begins_anew() -> None:
    rate = Rate(over_s=10)
    rate.see(1000, at=0)
    assert rate.see(10, at=1) == 0
    assert rate.see(20, at=2) == 10
