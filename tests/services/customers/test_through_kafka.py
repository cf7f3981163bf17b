from datetime import UTC, datetime
from uuid import uuid4

import httpx
import orjson

from chassis.envelope import Raw
from chassis.ids import new_id
from chassis.publishing import Publisher
from contracts.customers import LinkTelegram
from services.customers.__main__ import service
from tests.harness import House, until
from tests.infra import Kafka, Postgres
from tests.services.customers.world import PHONE


async def test_a_customer_from_the_till_to_the_bot_to_oblivion(kafka: Kafka, postgres: Postgres) -> None:
    async with House.built(service, kafka, postgres) as house:
        instance, other = house.start(), house.start()
        await instance.until_ready()
        await other.until_it_said("http_listens")
        async with await instance.http() as till, await other.http() as operator:
            customer_id = await registered(till)
            await share_contact(kafka)
            await until(lambda: chat_of(operator, customer_id), what="the chat is linked")
            assert (await operator.delete(f"/customers/{customer_id}")).status_code == 204
        await house.until_drained()

        contacts = [word for word in await house.records("customers.contacts") if word.key == customer_id.encode()]
        cards = await house.records("customers.cards")
        events = await house.records("customers.events")

    assert contacts[-1].value is None
    assert [state.get("telegram_chat_id") for state in map(content, contacts[:-1])] == [None, 100500]
    assert [(content(card)["card_number"], content(card)["state"]) for card in cards] == [
        ("2900000000018", "active"),
        ("2900000000018", "blocked"),
    ]
    assert [kind(event) for event in events if event.key == customer_id.encode()] == [
        "customers.customer_registered.v1",
        "customers.customer_changed.v1",
        "customers.customer_erased.v1",
    ]
    assert not any(PHONE.encode() in (event.value or b"") for event in events)


async def registered(till: httpx.AsyncClient) -> str:
    answer = await till.post(
        "/customers",
        json={"phone": PHONE, "card_number": "2900000000018"},
        headers={"Idempotency-Key": str(uuid4())},
    )
    assert answer.status_code == 201
    return str(answer.json()["id"])


async def share_contact(kafka: Kafka) -> None:
    async with Publisher(kafka.bootstrap) as bot:
        command = LinkTelegram(phone=PHONE, telegram_chat_id=100500)
        await bot.publish(command, event_id=new_id(), source="/bot", time=datetime.now(UTC))


async def chat_of(operator: httpx.AsyncClient, customer_id: str) -> object:
    return (await operator.get(f"/customers/{customer_id}")).json()["telegram_chat_id"]


def content(record: Raw) -> dict[str, object]:
    return dict(orjson.loads(record.value or b"{}"))


def kind(record: Raw) -> str:
    return (dict(record.headers)["ce_type"] or b"").decode()
