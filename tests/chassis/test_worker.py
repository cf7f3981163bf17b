"""The worker, against the real Kafka and PostgreSQL: batches in order, offsets behind what is durable, never before."""

import asyncio
import contextlib
import gc
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import CommitFailedError, IllegalStateError

from chassis import envelope, worker
from chassis.delivery import Item
from chassis.envelope import Heard
from chassis.provisioning import provision
from chassis.settings import Settings
from chassis.worker import Worker
from contracts.purchases import PurchaseCancelled
from contracts.records import Record
from contracts.topics import TOPICS
from tests.chassis.conftest import OpenDatabase
from tests.chassis.delivery_world import BookService, deadlock, for_ever, metadata
from tests.chassis.purchase_records import cancelled, raw_of
from tests.harness import ends, lag, pin_at_the_ends, until
from tests.infra import Kafka

TOPIC = "pos.purchases"
CARDS = [f"2900{number:04}" for number in range(24)]


class Shop:
    """A group of its own on pos.purchases, the service behind it, and a till."""

    def __init__(self, kafka: Kafka, service: BookService, till: AIOKafkaProducer) -> None:
        self.kafka = kafka
        self.service = service
        self.till = till
        self.group = f"shop-{uuid4().hex[:8]}"
        self.sold: list[str] = []

    def worker(self, *, service: BookService | None = None, **settings: Any) -> Worker:
        service = service or self.service
        defaults = {"kafka": self.kafka.bootstrap, "session_timeout_s": 6}
        return Worker(self.group, service.hears, service.delivery, Settings(**{**defaults, **settings}))

    async def sell(self, count: int, cards: Sequence[str] = CARDS) -> None:
        """Publish so many good records, spread over these cards."""
        for number in range(count):
            receipt_id = f"{self.group}-{len(self.sold)}"
            self.sold.append(receipt_id)
            await self.put(cancelled(receipt_id, card_number=cards[number % len(cards)]))
        await self.till.flush()

    async def put(self, record: PurchaseCancelled, **others: Any) -> None:
        raw = raw_of(record, **others)
        await self.till.send(TOPIC, raw.value, key=raw.key, headers=list(raw.headers))

    async def until_all_is_entered(self) -> None:
        async def all_entered() -> bool:
            return len(await self.service.entered()) >= len(self.sold)

        await until(all_entered, what="all records are entered", every_s=0.1)

    async def until_no_lag(self) -> None:
        async def no_lag() -> bool:
            return await lag(self.kafka, self.group, [TOPIC]) == 0

        await until(no_lag, what="the group has no lag", every_s=0.1)


@pytest.fixture
async def shop(open_database: OpenDatabase, kafka: Kafka) -> AsyncIterator[Shop]:
    await provision(kafka.bootstrap, TOPICS.values(), replication=1)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5) as till:
        shop = Shop(kafka, BookService(await open_database(metadata)), till)
        await pin_at_the_ends(kafka, shop.group, [TOPIC], [TOPIC])
        yield shop


@contextlib.asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as running:
        for each in workers:
            running.create_task(each.run(stop))
        try:
            yield
        finally:
            stop.set()


class Gate:
    """Holds every delivery of a service, but the first so many, for as long as it is shut."""

    def __init__(self, service: BookService, *, lets_by: int = 0) -> None:
        self._deliver = service.delivery.deliver
        self._lets_by = lets_by
        self.opened, self.somebody_waits = asyncio.Event(), asyncio.Event()
        self.waiting: list[Sequence[Item]] = []
        service.delivery.deliver = self._hold  # type: ignore[method-assign]

    async def _hold(self, items: Sequence[Item]) -> None:
        self._lets_by -= 1
        if self._lets_by < 0:
            self.waiting.append(items)
            self.somebody_waits.set()
            await self.opened.wait()
            self.waiting.remove(items)
        await self._deliver(items)

    async def holds_two(self) -> bool:
        return len(self.waiting) == 2


async def test_what_was_handled_is_committed_and_a_successor_goes_on_behind_it(shop: Shop) -> None:
    for _ in range(2):
        async with working(shop.worker(batch_records=17)):
            await shop.sell(100)
            await shop.until_all_is_entered()
        assert await lag(shop.kafka, shop.group, [TOPIC]) == 0
    assert sorted(await shop.service.entered()) == sorted(shop.sold)
    assert sum(shop.service.calls) == 200


async def test_a_cards_records_are_handled_in_their_order(shop: Shop) -> None:
    await shop.sell(300)
    async with working(shop.worker(batch_records=23)):
        await shop.until_all_is_entered()
    entered = await shop.service.entered()
    for card in range(len(CARDS)):
        of_card = shop.sold[card :: len(CARDS)]
        assert [each for each in entered if each in set(of_card)] == of_card or len(shop.sold) % len(CARDS)


async def test_records_that_nobody_hears_and_dead_letters_hold_up_no_offset(shop: Shop) -> None:
    good = raw_of(cancelled())
    unheard = [("ce_type", b"pos.drawer_opened.v1") if each[0] == "ce_type" else each for each in good.headers]
    async with working(shop.worker()):
        for card in CARDS:
            await shop.till.send(TOPIC, b"whatever", key=card.encode(), headers=unheard)
            await shop.till.send(TOPIC, b"{", key=card.encode(), headers=list(good.headers))
        await shop.sell(len(CARDS))
        await shop.until_all_is_entered()
        await shop.until_no_lag()
    assert len(await shop.service.dead()) == len(CARDS)
    assert {reason for _, reason in await shop.service.dead()} == {"not_json"}


async def test_aborted_records_are_not_heard_and_markers_of_transactions_are_no_lag(shop: Shop) -> None:
    async with (
        working(shop.worker()),
        AIOKafkaProducer(bootstrap_servers=shop.kafka.bootstrap, transactional_id=shop.group) as producer,
    ):
        for receipt_id, aborts in (("aborted", True), ("committed", False)):
            raw = raw_of(cancelled(receipt_id))
            await producer.begin_transaction()
            await producer.send_and_wait(TOPIC, raw.value, key=raw.key, headers=list(raw.headers))
            await (producer.abort_transaction() if aborts else producer.commit_transaction())
        shop.sold.append("committed")
        await shop.until_all_is_entered()
        await shop.until_no_lag()
    assert await shop.service.entered() == ["committed"]


async def test_while_the_database_is_in_trouble_nothing_is_committed_lost_or_dead(shop: Shop) -> None:
    await shop.sell(48)
    shop.service.fails = {shop.sold[30]: [deadlock(), ConnectionResetError()]}
    deliver, commits_seen_in_trouble = shop.service.delivery.deliver, []

    async def deliver_and_look(items: Sequence[Item]) -> None:
        try:
            await deliver(items)
        except Exception:
            commits_seen_in_trouble.append(await lag(shop.kafka, shop.group, [TOPIC]))
            raise

    shop.service.delivery.deliver = deliver_and_look  # type: ignore[method-assign]
    async with working(shop.worker(batch_records=1000)):
        await shop.until_all_is_entered()
        await shop.until_no_lag()
    assert commits_seen_in_trouble
    assert min(commits_seen_in_trouble) > 0
    assert sorted(await shop.service.entered()) == sorted(shop.sold)
    assert await shop.service.dead() == []


async def test_told_to_stop_it_finishes_and_commits_the_batch_in_hand(shop: Shop) -> None:
    gate = Gate(shop.service)
    await shop.sell(24)
    async with working(shop.worker(batch_records=1000)):
        await gate.somebody_waits.wait()
        asyncio.get_running_loop().call_later(0.2, gate.opened.set)
    entered = await shop.service.entered()
    assert entered
    assert await lag(shop.kafka, shop.group, [TOPIC]) == len(shop.sold) - len(entered)


async def test_a_worker_whose_offsets_cannot_be_committed_ends(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def commit(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(AIOKafkaConsumer, "commit", commit)
    with pytest.raises(ExceptionGroup):
        async with working(shop.worker()):
            await shop.sell(1)
            await asyncio.Event().wait()


async def test_under_a_backlog_a_full_batch_of_other_partitions_begins_beside_the_one_in_hand(shop: Shop) -> None:
    gate = Gate(shop.service, lets_by=1)
    await shop.sell(240)
    async with working(shop.worker(batch_records=10)):
        await until(gate.holds_two, what="two batches are in hand")
        one, other = ({item.raw.partition for item in items} for items in gate.waiting)
        assert not one & other
        assert [len(items) for items in gate.waiting] == [10, 10]
        gate.opened.set()
        await shop.until_all_is_entered()
        await shop.until_no_lag()
    assert sorted(await shop.service.entered()) == sorted(shop.sold)


async def test_of_one_partition_there_is_one_batch_in_hand_however_much_waits(
    shop: Shop, decoded: list[weakref.ref[Record]]
) -> None:
    async def the_next_is_full() -> bool:
        return len(decoded) == 30

    gate = Gate(shop.service, lets_by=1)
    await shop.sell(60, CARDS[:1])
    async with working(shop.worker(batch_records=10)):
        await until(the_next_is_full, what="the next batch is gathered")
        with pytest.raises(AssertionError, match="beside"):
            await until(gate.holds_two, what="one begins beside it", within_s=0.5)
        gate.opened.set()
        await shop.until_all_is_entered()
    assert await shop.service.entered() == shop.sold


async def test_offsets_of_batches_that_end_together_are_committed_one_after_the_other(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, at_once = AIOKafkaConsumer.commit, Counter[str]()

    async def watched(consumer: AIOKafkaConsumer, positions: dict[TopicPartition, int]) -> None:
        at_once["now"] += 1
        at_once["most"] = max(at_once["most"], at_once["now"])
        await commit(consumer, positions)
        at_once["now"] -= 1

    monkeypatch.setattr(AIOKafkaConsumer, "commit", watched)
    gate = Gate(shop.service, lets_by=1)
    await shop.sell(240)
    async with working(shop.worker(batch_records=10)):
        await until(gate.holds_two, what="two batches are in hand")
        gate.opened.set()
        await shop.until_no_lag()
    assert at_once["most"] == 1


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Record]]:
    """Every record that a worker has decoded, if it is still there."""
    records: list[weakref.ref[Record]] = []

    def decode(*arguments: Any, **named: Any) -> Heard | None:
        heard = envelope.decode(*arguments, **named)
        if heard is not None:
            records.append(weakref.ref(heard.record))
        return heard

    monkeypatch.setattr(worker, "decode", decode)
    return records


async def test_what_comes_while_a_batch_is_in_hand_is_one_batch_however_often_it_came(
    shop: Shop, decoded: list[weakref.ref[Record]]
) -> None:
    async def all_taken() -> bool:
        return len(decoded) == len(shop.sold)

    gate = Gate(shop.service, lets_by=1)
    async with working(shop.worker()):
        await shop.sell(1)
        await shop.until_all_is_entered()
        await shop.sell(1)
        await gate.somebody_waits.wait()
        for _ in range(3):
            await shop.sell(24, CARDS[1:2])
            await until(all_taken, what="the worker has taken what came")
        gate.opened.set()
        await shop.until_all_is_entered()
    assert shop.service.calls == [1, 1, 72]


async def test_a_batch_and_its_records_are_gone_without_the_garbage_collector(
    shop: Shop, decoded: list[weakref.ref[Record]]
) -> None:
    gc.disable()
    try:
        async with working(shop.worker()):
            for count in (24, 1):
                await shop.sell(count)
                await shop.until_no_lag()
            assert len(decoded) == 25
            assert not any(record() for record in decoded[:24])
    finally:
        gc.enable()


async def test_over_the_cap_it_stands_still_says_so_and_commits_nothing(
    shop: Shop, open_database: OpenDatabase
) -> None:
    service = BookService(await open_database(), most_dead=2)
    service.fails = {f"bad-{number}": for_ever(ValueError()) for number in range(5)}
    for receipt_id in service.fails:
        await shop.put(cancelled(receipt_id))
    await shop.till.flush()
    halting = shop.worker(service=service)

    async def stands_still() -> bool:
        return "at most 2 are allowed" in (halting.progress.stalled() or "")

    async with working(halting):
        await until(stands_still, what="the worker is halted")
        await shop.sell(24)
    assert await shop.service.entered() == []
    assert len(await service.dead()) == 2
    assert await lag(shop.kafka, shop.group, [TOPIC]) == 29

    service.fails = {}
    shop.sold += [f"bad-{number}" for number in range(5)]
    async with working(shop.worker(service=service)):
        await shop.until_no_lag()
    assert sorted(await service.entered()) == sorted(shop.sold)


async def test_a_worker_that_makes_no_headway_is_not_healthy_until_it_does(shop: Shop) -> None:
    gate = Gate(shop.service)
    slow = shop.worker(stall_timeout_s=0.5)

    async def is_stalled() -> bool:
        return slow.progress.stalled() is not None

    async with working(slow):
        await shop.sell(24)
        await until(is_stalled, what="the worker is stalled")
        gate.opened.set()
        await shop.until_all_is_entered()
        await until(lambda: _not(is_stalled), what="the worker is healthy again")


async def _not(is_so: Callable[[], Any]) -> bool:
    return not await is_so()


async def test_a_worker_that_joins_gets_partitions_only_behind_the_batch_in_hand(
    shop: Shop, open_database: OpenDatabase
) -> None:
    newcomer = BookService(await open_database())
    gate = Gate(shop.service)
    await shop.sell(240)
    first, second = shop.worker(batch_records=10), shop.worker(service=newcomer)
    asked_to_let_go = asyncio.Event()
    let_go = first.on_partitions_revoked

    async def note(revoked: set[TopicPartition]) -> None:
        asked_to_let_go.set()
        await let_go(revoked)

    async def has_partitions() -> bool:
        return bool(second.consumer.assignment())

    async with working(first):
        await gate.somebody_waits.wait()
        first.on_partitions_revoked = note  # type: ignore[method-assign]
        async with working(second):
            await asked_to_let_go.wait()
            with pytest.raises(AssertionError, match="partitions"):
                await until(has_partitions, what="the newcomer has partitions", within_s=2)
            gate.opened.set()
            await shop.until_all_is_entered()
            await shop.until_no_lag()
    assert sorted(await shop.service.entered()) == sorted(shop.sold)
    assert sum(shop.service.calls) + sum(newcomer.calls) == 240


async def test_a_batch_whose_partitions_went_away_meanwhile_changes_nothing_twice(
    shop: Shop,
    open_database: OpenDatabase,
    monkeypatch: pytest.MonkeyPatch,
    decoded: list[weakref.ref[Record]],
) -> None:
    monkeypatch.setattr(worker, "REVOKE_WAIT_S", 0.1)
    commit, refused = AIOKafkaConsumer.commit, []

    async def watched(consumer: AIOKafkaConsumer, positions: dict[TopicPartition, int]) -> None:
        try:
            await commit(consumer, positions)
        except (CommitFailedError, IllegalStateError):
            refused.append(positions)
            raise

    monkeypatch.setattr(AIOKafkaConsumer, "commit", watched)
    newcomer = BookService(await open_database())
    gate = Gate(shop.service, lets_by=1)
    first = shop.worker(batch_records=10)
    let_go = first.on_partitions_revoked

    async def let_go_and_look_for_more(revoked: set[TopicPartition]) -> None:
        await let_go(revoked)
        with contextlib.suppress(AssertionError):
            await until(lambda: _truth(first._taken), what="it has looked at what it has no more", within_s=0.3)

    first.on_partitions_revoked = let_go_and_look_for_more  # type: ignore[method-assign]
    await shop.sell(240)
    async with working(first):
        await until(gate.holds_two, what="two batches are in hand")
        await until(lambda: _truth(len(decoded) == 40), what="one was handled, and the next one is gathered")
        in_hand = {TopicPartition(TOPIC, item.raw.partition) for items in gate.waiting for item in items}
        async with working(shop.worker(service=newcomer)):
            await until(lambda: _truth(newcomer.calls), what="the newcomer works")
            gate.opened.set()
            await shop.until_all_is_entered()
            await shop.until_no_lag()
    assert sorted(await shop.service.entered()) == sorted(shop.sold)
    assert all(positions.keys() <= in_hand for positions in refused), "others have no positions of what went away"


async def _truth(what: object) -> bool:
    return bool(what)


async def test_workers_that_come_and_go_lose_nothing_and_repeat_nothing(
    shop: Shop, open_database: OpenDatabase
) -> None:
    newcomers = [BookService(await open_database()) for _ in range(2)]

    async def works(newcomer: BookService) -> bool:
        await shop.sell(48)
        return bool(newcomer.calls)

    async with working(shop.worker(batch_records=5)):
        for newcomer in newcomers:
            async with working(shop.worker(service=newcomer, batch_records=5)):
                await until(partial(works, newcomer), what="the one that came works")
        await shop.until_all_is_entered()
        await shop.until_no_lag()
    assert sorted(await shop.service.entered()) == sorted(shop.sold)


async def test_it_goes_on_after_a_batch_that_took_longer_than_kafka_lets_it_think(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "REVOKE_WAIT_S", 0.1)
    gate = Gate(shop.service)
    slow = shop.worker(batch_records=10)
    await shop.sell(48)
    async with working(slow):
        await gate.somebody_waits.wait()
        coordinator = slow.consumer._coordinator
        coordinator._max_poll_interval = 0.5
        assigned = slow.assignment
        await until(lambda: _truth(slow.assignment > assigned), what="Kafka took its partitions away")
        gate.opened.set()
        await shop.until_all_is_entered()
        await shop.until_no_lag()
    assert sorted(await shop.service.entered()) == sorted(shop.sold)


async def test_it_goes_on_where_the_topic_begins_when_retention_was_quicker(shop: Shop) -> None:
    await shop.sell(48)
    gone = await ends(shop.kafka, [TOPIC])
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.kafka.bootstrap)
    await admin.start()
    await admin.delete_records({partition: RecordsToDelete(before_offset=end) for partition, end in gone.items()})
    await admin.close()
    shop.sold.clear()
    async with working(shop.worker()):
        await shop.sell(24)
        await shop.until_all_is_entered()
        await shop.until_no_lag()
    assert sorted(await shop.service.entered()) == sorted(shop.sold)
