"""A purchase of a card that nobody knows yet is kept, and credited when the card appears, however the two race."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from chassis.dead_letters import Cap
from chassis.delivery import Delivery
from chassis.envelope import Heard, Raw, decode
from chassis.publishing import Publication
from contracts.records import BY_TYPE
from services.loyalty import accounts, reconciliation
from services.loyalty.__main__ import service
from tests.faults.chain import Chain
from tests.faults.invariants import assert_all_is_well
from tests.harness import House, until, waiters
from tests.infra import Kafka, Postgres


def heard(publications: Sequence[Publication]) -> list[Heard]:
    """What a worker would have decoded of them."""
    items = []
    for offset, publication in enumerate(publications):
        word = publication.word()
        found = decode(
            Raw(word.topic, 0, offset, 1, word.key, word.value, word.headers), BY_TYPE, value_max_bytes=2**20
        )
        assert found is not None
        items.append(found)
    return items


def delivery(house: House) -> Delivery:
    return Delivery("loyalty", service.hears, house.database, cap=Cap(100, timedelta(minutes=10)))


async def test_purchases_and_returns_wait_for_the_card_and_are_entered_when_it_comes(
    kafka: Kafka, postgres: Postgres
) -> None:
    async with House.built(service, kafka, postgres) as house, house.running():
        chain = Chain(kafka, seed=31)
        await chain.publish(chain.sales(60))

        async def all_wait() -> bool:
            return bool(await house.value("SELECT count(*) FROM waiting") >= 60)

        await until(all_wait, what="the purchases wait")
        assert await house.value("SELECT count(*) FROM operations") == 0
        await chain.publish(chain.cards())
        await assert_all_is_well(house, chain.receipts, chain.returns)


@pytest.mark.parametrize("first", ["purchase", "card"])
async def test_a_purchase_and_its_card_that_race_find_each_other(
    kafka: Kafka, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """The first one stands still in its transaction, everything done and nothing committed; then the second comes."""
    async with House.built(service, kafka, postgres) as house:
        chain = Chain(kafka, seed=32, customers=1)
        [purchase] = heard([chain.said(chain.purchase(card=chain.customers[0].cards[0]))])
        [card] = heard([chain.cards()[0]])
        records = {"purchase": purchase, "card": card}
        second = "card" if first == "purchase" else "purchase"
        is_in, may_commit = asyncio.Event(), asyncio.Event()

        async def deliver_and_hold() -> None:
            async with house.database.transaction() as tx:
                tx.hearing([records[first]])
                handler = service.hears.handlers[records[first].record.type]
                record = records[first].record
                await handler.handle([record] if handler.takes_many else record, tx)
                is_in.set()
                await may_commit.wait()

        async with asyncio.TaskGroup() as both:
            both.create_task(deliver_and_hold())
            await is_in.wait()
            racing = both.create_task(delivery(house).deliver([records[second]]))
            await until(lambda: waits_or_done(house, racing), what="the second one waits for the first")
            may_commit.set()
        assert await house.value("SELECT count(*) FROM waiting") == 0
        assert await house.value("SELECT count(*) FROM operations") == 1
        async with house.database.reading() as tx:
            assert await reconciliation.differences(tx) == []


async def waits_or_done(house: House, racing: "asyncio.Task[None]") -> bool:
    return racing.done() or await waiters(house.database) > 0


async def test_a_card_that_comes_without_the_lock_would_miss_the_purchase(
    kafka: Kafka, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: with a place that nobody locks, the purchase waits for ever."""
    look_only = (
        "SELECT identifier, customer_id FROM identifiers WHERE identifier = ANY ($1::text[]) AND $2::text[] <> '{}'"
    )
    monkeypatch.setattr(accounts, "HOLD_PLACE", look_only)
    with pytest.raises(AssertionError):
        await test_a_purchase_and_its_card_that_race_find_each_other(kafka, postgres, monkeypatch, "purchase")
