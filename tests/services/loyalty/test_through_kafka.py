"""From a till that speaks HTTP to the balance, through a real broker."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from chassis.ids import new_id
from chassis.publishing import Publisher
from contracts.customers import Card
from services.loyalty.__main__ import service
from tests.harness import House, until
from tests.infra import Kafka, Postgres
from tests.services.loyalty.test_till_api import form_of, send
from tests.services.loyalty.tills import with_key
from tests.services.loyalty.world import came_back, cancelled, card, purchase

pytestmark = pytest.mark.timeout(240)


async def introduce(kafka: Kafka, number: str) -> UUID:
    """The card gets a customer, as the customers service says it."""
    customer_id = new_id()
    async with Publisher(kafka.bootstrap) as customers:
        known = Card(card_number=number, customer_id=customer_id)
        await customers.publish(known, event_id=new_id(), source="/customers", time=datetime.now(UTC))
    return customer_id


async def until_balance(api: httpx.AsyncClient, customer_id: UUID, points: int) -> None:
    async def has() -> bool:
        answer = await api.get(f"/customers/{customer_id}/balance")
        return answer.status_code == 200 and [each["available"] for each in answer.json()["accounts"]] == [points]

    await until(has, what=f"the balance is {points}")


def unique(number: str) -> Any:
    """Receipts are unique for ever, also those of other tests on the same topic."""
    return purchase(number, 100_000, 50_000, receipt=f"r-{uuid4()}")


async def test_a_purchase_over_http_earns_is_returned_and_cancelled(kafka: Kafka, postgres: Postgres) -> None:
    number = card()
    async with House.built(service, kafka, postgres) as house:
        door = house.start("--only", "api")
        behind = house.start("--only", "worker", "--only", "relay")
        await behind.until_it_said("partitions_assigned")
        async with await door.http() as api:
            key = await with_key(api)
            customer_id = await introduce(kafka, number)
            await until_balance(api, customer_id, 0)

            bought, annulled = unique(number), unique(number)
            answers = [
                await send(api, key, "complete", form_of(each), receipt=each.receipt_id) for each in (bought, annulled)
            ]
            assert [(each.status_code, each.json()) for each in answers] == [(201, {"published": True})] * 2
            await until_balance(api, customer_id, 150)

            back = came_back(bought, {2: 50_000}, return_id=f"b-{uuid4()}")
            assert (await send(api, key, "return", form_of(back), receipt=bought.receipt_id)).status_code == 201
            gone = form_of(cancelled(annulled))
            assert (await send(api, key, "cancel", gone, receipt=annulled.receipt_id)).status_code == 201
            await until_balance(api, customer_id, 50)
            assert (await api.get("/reconciliation")).json()["differences"] == []
        await house.until_drained()
        assert len(await house.records("pos.purchases")) == 4
        assert await house.dead_letters() == []


async def test_what_is_said_while_the_broker_is_away_is_published_when_it_is_back(
    own_kafka: Kafka, postgres: Postgres
) -> None:
    number = card()
    async with House.built(service, own_kafka, postgres) as house:
        instance = await house.start().until_ready()
        async with await instance.http() as api:
            key = await with_key(api)
            customer_id = await introduce(own_kafka, number)
            await until_balance(api, customer_id, 0)
            bought = unique(number)

            await asyncio.to_thread(own_kafka.stop)
            kept = await send(api, key, "complete", form_of(bought), receipt=bought.receipt_id, once="117")
            assert (kept.status_code, kept.json()["published"]) == (202, False)
            await asyncio.to_thread(own_kafka.start)
            await until_balance(api, customer_id, 75)

            again = await send(api, key, "complete", form_of(bought), receipt=bought.receipt_id, once="117")
            assert (again.status_code, again.json()) == (201, {"published": True})
            assert again.headers["Idempotency-Replayed"] == "true"
        await house.until_drained()
        assert len(await house.records("pos.purchases")) == 1
