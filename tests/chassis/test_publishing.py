"""The publisher that programs outside a service use, against the real Kafka."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from chassis.envelope import Heard, Raw, decode
from chassis.ids import new_id
from chassis.outbox import Word
from chassis.provisioning import provision
from chassis.publishing import RECORD_MAX_BYTES, NotPublished, Publication, Publisher
from chassis.topic_reading import TopicReader
from contracts.purchases import PurchaseCancelled
from contracts.topics import TOPICS, Topic
from tests.infra import Kafka

NOW = datetime(2025, 11, 2, 12, 4, 5, tzinfo=UTC)
PURCHASES = TOPICS["pos.purchases"]


def cancelled(card_number: str = "29000000") -> PurchaseCancelled:
    return PurchaseCancelled(
        card_number=card_number, receipt_id=str(uuid4()), store_id="367", terminal_id="367-04", cancelled_at=NOW
    )


def numbered(topic: str, key: str, number: int) -> Word:
    return Word(topic, key.encode(), (), str(number).encode())


def new_topic() -> Topic:
    return Topic(f"test.publishing.{uuid4().hex}", "tests", "any", "A topic of one test.", partitions=4)


async def on_the_topic(kafka: Kafka, topic: str) -> list[Raw]:
    async with TopicReader(kafka.bootstrap) as bus:
        return [raw async for raw in bus.read(topic, start="beginning", follow=False)]


async def numbers_by_key(kafka: Kafka, topic: str) -> dict[bytes | None, list[int]]:
    numbers = defaultdict(list)
    for raw in await on_the_topic(kafka, topic):
        numbers[raw.key].append(int(raw.value or b""))
    return numbers


async def test_a_published_record_is_understood_by_a_service(kafka: Kafka) -> None:
    await provision(kafka.bootstrap, [PURCHASES], replication=1)
    record, event_id, traceparent = cancelled(), new_id(), f"00-{'a' * 32}-{'b' * 16}-01"
    async with Publisher(kafka.bootstrap) as publisher:
        await publisher.publish(record, event_id=event_id, source="/tills/367-04", time=NOW, traceparent=traceparent)
    heard = await heard_by_id(kafka, event_id)
    assert heard.record == record
    assert (heard.source, heard.time, heard.traceparent) == ("/tills/367-04", NOW, traceparent)
    assert heard.raw.key == b"29000000"


async def heard_by_id(kafka: Kafka, event_id: UUID) -> Heard:
    for raw in await on_the_topic(kafka, PURCHASES.name):
        if dict(raw.headers).get("ce_id") == str(event_id).encode():
            heard = decode(raw, {PurchaseCancelled.type: PurchaseCancelled}, value_max_bytes=10_000)
            assert heard is not None
            return heard
    raise AssertionError("the record is not on the topic")


async def test_records_of_one_key_keep_the_order_of_the_calls_however_many_run_at_once(kafka: Kafka) -> None:
    topic = new_topic()
    await provision(kafka.bootstrap, [topic], replication=1)
    keys = [f"card-{number}" for number in range(50)]
    async with Publisher(kafka.bootstrap) as publisher, asyncio.TaskGroup() as calls:
        for number in range(200):
            words = [numbered(topic.name, key, number) for key in keys]
            calls.create_task(publisher.publish_words(words[:25]))
            for word in words[25:]:
                calls.create_task(publisher.publish_words([word]))
    found = await numbers_by_key(kafka, topic.name)
    assert found == {key.encode(): list(range(200)) for key in keys}


async def test_more_than_a_batch_holds_is_published_in_order(kafka: Kafka) -> None:
    topic = new_topic()
    await provision(kafka.bootstrap, [topic], replication=1)
    filler = b" " * 50_000
    async with Publisher(kafka.bootstrap) as publisher:
        await publisher.publish_words(
            [Word(topic.name, b"card", (), str(number).encode() + filler) for number in range(100)]
        )
    assert (await numbers_by_key(kafka, topic.name))[b"card"] == list(range(100))


async def test_thousands_of_purchases_a_second_are_published(kafka: Kafka) -> None:
    await provision(kafka.bootstrap, [PURCHASES], replication=1)
    publications = [
        Publication(cancelled(str(10_000 + number % 500)), new_id(), "/tills", NOW) for number in range(10_000)
    ]
    async with Publisher(kafka.bootstrap) as publisher:
        await publisher.publish_many(publications[:1])
        started = time.perf_counter()
        await publisher.publish_many(publications[1:])
    assert len(publications) / (time.perf_counter() - started) > 3000


async def test_a_missing_topic_is_named_and_costs_later_records_nothing(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.publishing.REQUEST_TIMEOUT_MS", 500)
    topic = new_topic()
    await provision(kafka.bootstrap, [topic], replication=1)
    async with Publisher(kafka.bootstrap) as publisher:
        with pytest.raises(NotPublished, match=r"test\.nowhere: there is no such topic"):
            await publisher.publish_words([numbered("test.nowhere", "a", 1)])
        await publisher.publish_words([numbered(topic.name, "a", 2)])
    assert await numbers_by_key(kafka, topic.name) == {b"a": [2]}


async def test_a_record_that_no_broker_takes_is_refused_before_anything_is_sent(kafka: Kafka) -> None:
    topic = new_topic()
    await provision(kafka.bootstrap, [topic], replication=1)
    async with Publisher(kafka.bootstrap) as publisher:
        with pytest.raises(ValueError, match=f"at most {RECORD_MAX_BYTES}"):
            await publisher.publish_words(
                [numbered(topic.name, "a", 1), Word(topic.name, b"a", (), b"0" * (RECORD_MAX_BYTES + 1))]
            )
        await publisher.publish_words([Word(topic.name, b"a", (), b"2" * 900_000)])
    assert [len(raw.value or b"") for raw in await on_the_topic(kafka, topic.name)] == [900_000]


async def test_what_fails_takes_what_waits_behind_it_along_so_that_nothing_overtakes_a_retry(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.publishing.REQUEST_TIMEOUT_MS", 500)
    topic = new_topic()
    await provision(kafka.bootstrap, [topic], replication=1)
    async with Publisher(kafka.bootstrap) as publisher:
        first = [numbered(topic.name, "a", 1), numbered("test.nowhere", "b", 1)]
        failing = await under_way(publisher, first)
        behind = asyncio.create_task(publisher.publish_words([numbered(topic.name, "a", 2)]))
        results = await asyncio.gather(failing, behind, return_exceptions=True)
        assert [type(result) for result in results] == [NotPublished, NotPublished]
        await publisher.publish_words([numbered(topic.name, "a", 1), numbered(topic.name, "a", 2)])
    assert await numbers_by_key(kafka, topic.name) == {b"a": [1, 2]}


async def test_while_kafka_is_away_publishing_waits_and_then_goes_on_without_loss_repetition_or_disorder(
    own_kafka: Kafka,
) -> None:
    topic = new_topic()
    await provision(own_kafka.bootstrap, [topic], replication=1)
    async with Publisher(own_kafka.bootstrap) as publisher:
        await publisher.publish_words([numbered(topic.name, "a", 0)])
        published = 1

        async def publish_on() -> None:
            nonlocal published
            for number in range(1, 400):
                await publisher.publish_words([numbered(topic.name, "a", number)])
                published += 1

        publishing = asyncio.create_task(publish_on())
        await until(lambda: published > 20)
        await asyncio.to_thread(own_kafka.kill)
        assert not publishing.done()
        await asyncio.to_thread(own_kafka.start)
        await publishing
    assert await numbers_by_key(own_kafka, topic.name) == {b"a": list(range(400))}


async def test_a_publisher_that_cannot_reach_kafka_closes_at_once() -> None:
    async with asyncio.timeout(10):
        async with Publisher("127.0.0.1:9") as publisher:
            waiting = await under_way(publisher, [numbered("pos.purchases", "a", 1)])
        with pytest.raises(NotPublished, match="closed"):
            await waiting
        with pytest.raises(NotPublished, match="closed"):
            await publisher.publish_words([numbered("pos.purchases", "a", 1)])


async def test_a_publisher_with_unsent_records_closes_within_seconds_when_kafka_is_gone(own_kafka: Kafka) -> None:
    topic = new_topic()
    await provision(own_kafka.bootstrap, [topic], replication=1)
    try:
        async with asyncio.timeout(20):
            async with Publisher(own_kafka.bootstrap) as publisher:
                await publisher.publish_words([numbered(topic.name, "a", 1)])
                await asyncio.to_thread(own_kafka.kill)
                waiting = await under_way(publisher, [numbered(topic.name, "a", 2)])
            with pytest.raises(NotPublished):
                await waiting
    finally:
        await asyncio.to_thread(own_kafka.start)


async def under_way(publisher: Publisher, words: list[Word]) -> asyncio.Task[None]:
    """A call whose words the publisher has taken and is sending, or trying to."""
    call = asyncio.create_task(publisher.publish_words(words))
    await until(lambda: publisher._waiting != [])
    await until(lambda: publisher._waiting == [])
    return call


async def until(holds: Callable[[], bool], *, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        await asyncio.sleep(0)
