"""The relay, against the real Kafka and PostgreSQL: each row once and in order, whoever dies, freezes and wakes."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from chassis import dead_letters
from chassis.database import Database
from chassis.dead_letters import Cap, DeadLetter
from chassis.envelope import Headers, Raw, Unprocessable
from chassis.provisioning import provision
from chassis.relay import Announcer, Relay, Row
from chassis.settings import Settings
from contracts.topics import TOPICS, Topic, dead_letter_topic
from tests.chassis.conftest import OpenDatabase
from tests.chassis.purchase_records import cancelled, raw_of
from tests.harness import ends, records, until
from tests.infra import Kafka

NEVER_S = 3600


class Outbox:
    """A database with an outbox, a topic, and what is on it."""

    def __init__(self, kafka: Kafka, database: Database) -> None:
        self.kafka = kafka
        self.database = database
        self.service = f"relayed-{uuid4().hex[:8]}"
        self.topic = Topic(f"test.{self.service}", "tests", "any", "What one test says.", partitions=3)

    async def say(self, *words: tuple[str | None, str | bytes | None], headers: Headers = ()) -> None:
        """Commit words (key, value) to the outbox, in this order."""
        async with self.database.transaction() as tx:
            for key, value in words:
                as_bytes = value.encode() if isinstance(value, str) else value
                tx.say_raw(self.topic.name, None if key is None else key.encode(), headers, as_bytes)

    async def published(self) -> list[Raw]:
        begins = dict.fromkeys(await ends(self.kafka, [self.topic.name]), 0)
        return await records(self.kafka, self.topic.name, begins)

    async def by_key(self) -> dict[str, list[str]]:
        """The values on the topic, each key's in order."""
        found = defaultdict(list)
        for record in await self.published():
            found[(record.key or b"").decode()].append((record.value or b"").decode())
        return dict(found)

    async def until_empty(self, *, within_s: float = 30) -> float:
        async def empty() -> bool:
            async with self.database.reading() as tx:
                return not await tx.sql("SELECT id FROM outbox LIMIT 1")

        return await until(empty, what="the outbox is empty", within_s=within_s)

    def relay(self, of: Callable[..., Relay] = Relay, **settings: Any) -> Relay:
        kafka = {"kafka": self.kafka.bootstrap, "relay_poll_s": 0.1}
        return of(self.service, self.database, Settings(**{**kafka, **settings}))


@pytest.fixture
async def outbox(open_database: OpenDatabase, kafka: Kafka) -> Outbox:
    outbox = Outbox(kafka, await open_database())
    await provision(kafka.bootstrap, [TOPICS["customers.events"], outbox.topic], replication=1)
    return outbox


@contextlib.asynccontextmanager
async def relaying(*relays: Relay) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as running:
        for relay in relays:
            running.create_task(relay.run(stop))
        try:
            yield
        finally:
            stop.set()


async def until_leads(relay: Relay) -> None:
    async def leads() -> bool:
        return relay.leads

    await until(leads, what="the relay leads")


class DiedHereError(Exception):
    """The process ended here."""


class DyingAfterTheSend(Relay):
    """Dies when its first round is on the topics, before it has deleted the rows."""

    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[Row], token: UUID) -> None:
        await super()._send(producer, rows, token)
        raise DiedHereError


class DyingBeforeTheSend(Relay):
    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[Row], token: UUID) -> None:
        raise DiedHereError


class FreezingBeforeTheSend(Relay):
    """Falls silent with a round in hand, until it is thawed; the round goes out then, if it can."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.frozen, self.thaws, self.woke_in_vain = asyncio.Event(), asyncio.Event(), False

    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[Row], token: UUID) -> None:
        await self._freeze()
        try:
            await super()._send(producer, rows, token)
        except Exception:
            self.woke_in_vain = True
            raise

    async def _freeze(self) -> None:
        if not self.thaws.is_set():
            self.frozen.set()
            await self.thaws.wait()


class FreezingInTheKafkaTransaction(FreezingBeforeTheSend):
    """Falls silent when its records are on the topic, their transaction still open."""

    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[Row], token: UUID) -> None:
        go_on = producer.send_offsets_to_transaction

        async def frozen(*arguments: Any) -> None:
            await self._freeze()
            try:
                await go_on(*arguments)
            except Exception:
                self.woke_in_vain = True
                raise

        producer.send_offsets_to_transaction = frozen
        await Relay._send(self, producer, rows, token)


async def test_what_is_said_arrives_byte_for_byte(outbox: Outbox) -> None:
    headers: Headers = (
        ("ce_type", b"a.b.v1"),
        ("binary", b"\xff\0"),
        ("nothing", None),
        ("twice", b"1"),
        ("twice", b"2"),
    )
    async with relaying(outbox.relay()):
        await outbox.say(("k", b"\0\xff"), ("k", None), (None, "no key"), ("ключ", "значение"), headers=headers)
        await outbox.until_empty()
    found = await outbox.published()
    assert sorted((each.key or b"", each.value or b"") for each in found) == sorted(
        [(b"k", b"\0\xff"), (b"k", b""), (b"", b"no key"), ("ключ".encode(), "значение".encode())]
    )
    assert {each.headers for each in found} == {headers}
    assert [each.value for each in found if each.key == b"k"] == [b"\0\xff", None]


async def test_a_key_goes_where_kafkas_own_partitioner_puts_it(outbox: Outbox, kafka: Kafka) -> None:
    keys = [f"+7916{number:07}" for number in range(100)]
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for key in keys:
            await producer.send_and_wait(outbox.topic.name, b"by a till", key=key.encode())
    async with relaying(outbox.relay()):
        await outbox.say(*((key, "by the relay") for key in keys))
        await outbox.until_empty()
    partitions = defaultdict(set)
    for record in await outbox.published():
        partitions[record.key].add(record.partition)
    assert len(partitions) == len(keys)
    assert all(len(of_key) == 1 for of_key in partitions.values())


async def test_a_keys_records_keep_the_order_in_which_they_were_committed(outbox: Outbox) -> None:
    keys = [f"k{number}" for number in range(20)]
    async with relaying(outbox.relay(relay_batch_records=37)):
        for number in range(50):
            await outbox.say(*((key, str(number)) for key in keys))
        await outbox.until_empty()
    assert await outbox.by_key() == {key: [str(number) for number in range(50)] for key in keys}


async def test_a_woken_relay_does_not_wait_for_its_next_look(outbox: Outbox) -> None:
    relay = outbox.relay(relay_poll_s=NEVER_S, relay_lease_s=NEVER_S)
    outbox.database.on_commit_of_words(relay.wake)
    async with relaying(relay):
        await until_leads(relay)
        await outbox.say(("k", "1"))
        await outbox.until_empty(within_s=10)


async def test_a_commit_of_another_process_wakes_the_relay(outbox: Outbox, open_database: OpenDatabase) -> None:
    relay = outbox.relay(relay_poll_s=NEVER_S, relay_lease_s=NEVER_S)
    outbox.database = await open_database()
    outbox.database.on_commit_of_words(Announcer(outbox.database).announce)
    async with relaying(relay):
        await until_leads(relay)
        await outbox.say(("k", "1"))
        await outbox.until_empty(within_s=10)


async def test_what_was_committed_before_the_stop_is_published(outbox: Outbox) -> None:
    for number in range(5):
        relay = outbox.relay(relay_poll_s=NEVER_S, relay_lease_s=NEVER_S)
        async with relaying(relay):
            await until_leads(relay)
            await outbox.say(("k", str(number)))
        assert await outbox.by_key() == {"k": [str(each) for each in range(number + 1)]}


@pytest.mark.parametrize("death", [DyingBeforeTheSend, DyingAfterTheSend])
async def test_a_successor_finishes_what_the_dead_one_began(outbox: Outbox, death: type[Relay]) -> None:
    values = [str(number) for number in range(10)]
    await outbox.say(*(("k", value) for value in values[:5]))
    with pytest.raises(ExceptionGroup):
        async with relaying(outbox.relay(death)):
            await asyncio.Event().wait()
    await outbox.say(*(("k", value) for value in values[5:]))
    async with relaying(outbox.relay()):
        await outbox.until_empty()
    assert await outbox.by_key() == {"k": values}


async def test_deaths_one_after_the_other_do_not_repeat_anything(outbox: Outbox) -> None:
    chance = random.Random(7)
    for number in range(8):
        await outbox.say(("k", str(number)), ("l", str(number)))
        with pytest.raises(ExceptionGroup):
            async with relaying(outbox.relay(chance.choice([DyingBeforeTheSend, DyingAfterTheSend]))):
                await asyncio.Event().wait()
    async with relaying(outbox.relay()):
        await outbox.until_empty()
    assert await outbox.by_key() == {key: [str(number) for number in range(8)] for key in "kl"}


@pytest.mark.parametrize("zombie_of", [FreezingBeforeTheSend, FreezingInTheKafkaTransaction])
async def test_a_relay_that_froze_and_woke_publishes_nothing_any_more(
    outbox: Outbox, zombie_of: Callable[..., FreezingBeforeTheSend]
) -> None:
    zombie, successor = outbox.relay(zombie_of, relay_lease_s=1), outbox.relay()
    assert isinstance(zombie, FreezingBeforeTheSend)
    await outbox.say(*(("k", str(number)) for number in range(3)))
    async with relaying(zombie):
        await zombie.frozen.wait()
        async with relaying(successor):
            await outbox.say(("k", "3"))
            await outbox.until_empty()
            zombie.thaws.set()
            await until(lambda: _is(zombie.woke_in_vain), what="the zombie was refused")
            await outbox.say(("k", "4"))
            await outbox.until_empty()
        await outbox.say(("k", "5"))
        await outbox.until_empty()
    assert await outbox.by_key() == {"k": [str(number) for number in range(6)]}


async def _is(so: bool) -> bool:
    return so


async def test_one_of_several_relays_leads_and_another_one_takes_over(outbox: Outbox) -> None:
    stops = {outbox.relay(): asyncio.Event() for _ in range(3)}
    running = {relay: asyncio.create_task(relay.run(stop)) for relay, stop in stops.items()}
    published = 0
    while running:
        await until(lambda: _is(any(each.leads for each in running)), what="one leads")
        await outbox.say(*(("k", str(published + number)) for number in range(100)))
        published += 100
        [leader] = [each for each in running if each.leads]
        stops[leader].set()
        await running.pop(leader)
    assert await outbox.by_key() == {"k": [str(number) for number in range(published)]}


async def test_sessions_that_are_cut_again_and_again_cost_no_record_and_repeat_none(
    outbox: Outbox, open_database: OpenDatabase
) -> None:
    outside = await open_database()
    cuts = 0

    async def cut(stop: asyncio.Event) -> None:
        nonlocal cuts
        while not stop.is_set():
            async with outside.transaction() as tx:
                cuts += len(
                    await tx.sql(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
                        f"kopilka-{outbox.service}-relay",
                    )
                )
            await asyncio.sleep(random.Random(cuts).uniform(0, 0.15))

    keys = [f"k{number}" for number in range(5)]
    stop = asyncio.Event()
    async with relaying(outbox.relay(relay_batch_records=7), outbox.relay(relay_batch_records=7)):
        cutting = asyncio.create_task(cut(stop))
        for number in range(60):
            await outbox.say(*((key, str(number)) for key in keys))
            await asyncio.sleep(0.01)
        stop.set()
        await cutting
        await outbox.until_empty()
    assert cuts > 3
    assert await outbox.by_key() == {key: [str(number) for number in range(60)] for key in keys}


async def test_rounds_and_batches_are_cut_by_bytes_and_order_is_kept(outbox: Outbox) -> None:
    values = [f"{number:05}" + "x" * 300_000 for number in range(80)]
    for some in range(0, 80, 20):
        await outbox.say(*(("k", value) for value in values[some : some + 20]))
    async with relaying(outbox.relay()):
        await outbox.until_empty(within_s=60)
    assert [value[:5] for value in (await outbox.by_key())["k"]] == [value[:5] for value in values]


async def test_the_largest_record_that_kafka_takes_can_die_and_holds_nobody_up(outbox: Outbox, kafka: Kafka) -> None:
    outbox.topic = dead_letter_topic("pos.purchases", outbox.service)
    await provision(kafka.bootstrap, [outbox.topic, TOPICS["pos.purchases"]], replication=1)
    raw = replace(raw_of(cancelled()), key=None, headers=(), value=await largest_accepted(kafka))
    async with outbox.database.transaction() as tx:
        why = Unprocessable("too_large", "я" * 1000)
        await dead_letters.bury(tx, [DeadLetter(raw, why)], group=outbox.service, cap=Cap(1, timedelta(days=1)))
    async with relaying(outbox.relay()):
        await outbox.until_empty(within_s=10)
    assert [each.value for each in await outbox.published()] == [raw.value]


async def largest_accepted(kafka: Kafka) -> bytes:
    """The largest value that a till gets onto pos.purchases."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=2**21) as producer:
        for size in range(2**20 + 12, 0, -1):
            with contextlib.suppress(MessageSizeTooLargeError):
                await producer.send_and_wait("pos.purchases", b"x" * size, partition=0)
                return b"x" * size
    raise AssertionError("no size is accepted")
