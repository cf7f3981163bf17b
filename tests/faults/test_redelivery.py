"""Events that come again, in other batches and another order: the ledger is that of a plain, sequential till."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.envelope import Heard
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from services.loyalty import reconciliation
from services.loyalty.__main__ import service
from services.loyalty.pricing import of_returned, split
from tests.faults.chain import Chain
from tests.faults.invariants import assert_all_is_well
from tests.faults.test_unknown_cards import delivery, heard
from tests.harness import House
from tests.infra import Kafka, Postgres

BALANCES = "SELECT customer_id, balance, spent_minor FROM accounts WHERE customer_id = ANY ($1::uuid[])"
LEVELS = [(15_000_000, 700), (5_000_000, 600), (0, 500)]


class PlainTill:
    """The rules told once more, one record after the other, in memory."""

    def __init__(self, chain: Chain) -> None:
        self.customer_of = {card: customer.id for customer in chain.customers for card in customer.cards}
        self.balance = dict.fromkeys(self.customer_of.values(), 0)
        self.spent = dict.fromkeys(self.customer_of.values(), 0)
        self.bought: dict[str, tuple[PurchaseCompleted, int]] = {}
        self.seen: set[str] = set()

    def hear(self, record: PurchaseCompleted | PurchaseReturned | PurchaseCancelled) -> None:
        customer = self.customer_of[record.card_number or ""]
        if isinstance(record, PurchaseCompleted):
            if record.receipt_id in self.bought:
                return
            rate = next(rate for least, rate in LEVELS if self.spent[customer] >= least)
            points = record.total_minor * rate // 1_000_000
            self.bought[record.receipt_id] = (record, points)
            self._enter(customer, points, record.total_minor)
            return
        name = record.return_id if isinstance(record, PurchaseReturned) else f"cancelled:{record.receipt_id}"
        if name in self.seen:
            return
        self.seen.add(name)
        purchase, points = self.bought[record.receipt_id]
        totals = [line.total_minor for line in purchase.lines]
        back = totals
        if isinstance(record, PurchaseReturned):
            by_line = {line.line_no: line.total_minor for line in record.lines}
            back = [by_line.get(line.line_no, 0) for line in purchase.lines]
        earned = zip(split(points, totals), totals, back, strict=True)
        self._enter(customer, -sum(of_returned(*each) for each in earned if each[1]), -sum(back))

    def _enter(self, customer: object, points: int, spent_minor: int) -> None:
        self.balance[customer] += points  # type: ignore[index]
        self.spent[customer] += spent_minor  # type: ignore[index]


async def test_the_whole_topic_again_and_again_changes_nothing(kafka: Kafka, postgres: Postgres) -> None:
    async with House.built(service, kafka, postgres) as house:
        chain = Chain(kafka, seed=51)
        await chain.publish([*chain.cards(), *chain.sales(300)])
        for batch_records in (500, 7, 100):
            async with house.running(batch_records=batch_records):
                await assert_all_is_well(house, chain.receipts, chain.returns)
            await house.rewind()


@pytest.fixture
async def house(kafka: Kafka, postgres: Postgres) -> AsyncIterator[House]:
    async with House.built(service, kafka, postgres) as house:
        yield house


def interleaved(events: list[Heard], chance: random.Random) -> list[Heard]:
    """Each card's events in their order, the cards in any order."""
    by_card: dict[str, list[Heard]] = defaultdict(list)
    for event in events:
        by_card[event.record.key].append(event)
    cards = [event.record.key for event in events]
    chance.shuffle(cards)
    return [by_card[card].pop(0) for card in cards]


def repeated_batches(events: list[Heard], most: int, chance: random.Random) -> Iterator[list[Heard]]:
    """Batches that overlap, and go back to an earlier place three times."""
    at, rewinds = 0, 3
    while at < len(events):
        yield events[at : at + most]
        at += chance.randint(1, most)
        if rewinds and chance.random() < 0.3:
            rewinds -= 1
            at = chance.randint(0, at)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), most=st.integers(5, 60), customers=st.integers(1, 6))
async def test_any_batches_repeats_and_interleaving_give_the_plain_tills_ledger(
    house: House, seed: int, most: int, customers: int
) -> None:
    """With one card each: between two cards of a customer there is no order, and levels depend on it."""
    chance = random.Random(seed)
    chain = Chain(house.kafka, seed, customers=customers, most_cards=1)
    chain.now = datetime(2025, 11, 2, tzinfo=UTC)
    till = PlainTill(chain)
    events = interleaved(heard(chain.sales(60)), chance)
    for event in events:
        till.hear(event.record)  # type: ignore[arg-type]
    await delivery(house).deliver(heard(chain.cards()))
    for batch in repeated_batches(events, most, chance):
        await delivery(house).deliver(batch)
    rows = await house.rows(BALANCES, [customer.id for customer in chain.customers])
    found = {row.customer_id: (row.balance, row.spent_minor) for row in rows}
    assert found == {each: (till.balance[each], till.spent[each]) for each in till.balance}
    assert await house.value("SELECT count(*) FROM dead_letters") == 0
    async with house.database.reading() as tx:
        assert await reconciliation.differences(tx) == []
