"""The whole service in processes of their own, on the real Kafka, and killed in the middle."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from chassis.ids import new_id
from chassis.publishing import Publisher
from contracts.records import Record
from services.messaging.__main__ import service
from services.messaging.settings import MessagingSettings
from tests.harness import House, until
from tests.infra import Kafka, Postgres
from tests.services.messaging.bot_api import BotApi
from tests.services.messaging.world import TRACE, Messaging, accrued, asked, chat_of, contact

pytestmark = pytest.mark.timeout(300)

SHORT = {"telegram_timeout_s": 1, "telegram_lease_s": 2}


@pytest.fixture
async def house(kafka: Kafka, postgres: Postgres) -> AsyncIterator[House]:
    async with House.built(service, kafka, postgres) as built:
        yield built


@pytest.fixture
async def inside(house: House) -> AsyncIterator[Messaging]:
    """The house's database, to ask for messages without a bus and to see what became of them."""
    messaging = Messaging(house.settings)
    yield messaging
    await messaging.close()


async def publish(house: House, *records: Record) -> None:
    async with Publisher(house.kafka.bootstrap) as publisher:
        for record in records:
            await publisher.publish(
                record, event_id=new_id(), source="/test", time=datetime.now(UTC), traceparent=TRACE
            )


async def test_one_trace_reaches_from_the_purchase_to_telegram(house: House, inside: Messaging, api: BotApi) -> None:
    anna = contact(new_id(), language="en")
    instance = await house.start(telegram_api=api.url).until_ready(within_s=90)
    await publish(house, anna)
    await until(lambda: inside.rows("SELECT 1 FROM contacts"), what="the contact is known")
    await publish(house, accrued(anna))
    await inside.until_status("sent")
    await house.until_drained()

    trace_id = TRACE.split("-")[1]
    (request,) = api.requests
    assert request.text.startswith("+57 points for your purchase of ")
    (line,) = instance.said("message_sent")
    assert line["trace_id"] == trace_id
    said = await house.records("messaging.events")
    assert [dict(each.headers)["ce_type"] for each in said] == [
        b"messaging.message_accepted.v1",
        b"messaging.message_sent.v1",
    ]
    assert {str(dict(each.headers)["traceparent"]).split("-")[1] for each in said} == {trace_id}
    assert request.text not in instance.log
    assert str(anna.telegram_chat_id) not in instance.log
    assert await instance.stop(within_s=60) == 0


async def test_a_command_that_cannot_be_done_is_in_the_dead_letter_topic(house: House, inside: Messaging) -> None:
    anna = contact(new_id())
    await house.start("--only", "worker", "--only", "relay").until_it_said("partitions_assigned", within_s=90)
    await publish(house, anna, asked(anna, template="birthday"))

    async def died() -> bool:
        return bool(await house.dead_letters("messaging.commands"))

    await until(died, what="the dead letter is published")
    (letter,) = await house.dead_letters("messaging.commands")
    assert dict(letter.headers)["dlq_reason"] == b"unknown_template"


@pytest.mark.parametrize(("failpoint", "requests"), [("between_send_and_record", 1), ("after_claim_commit", 0)])
async def test_a_message_whose_dispatcher_was_killed_is_unknown_and_is_not_sent_again(
    house: House, inside: Messaging, api: BotApi, failpoint: str, requests: int
) -> None:
    anna = await inside.customer()
    await inside.hears(accrued(anna))

    killed = house.start("--only", "jobs", telegram_api=api.url, failpoint=failpoint, **SHORT)
    assert await killed.until_dead(within_s=150) == -9
    assert (await inside.message(anna.customer_id)).status == "sending"
    async with inside.dispatching(api):
        await inside.until_status("unknown")
        await inside.hears(accrued(anna))
        await inside.until(lambda rows: rows[1].status == "sent", what="the next one is sent")

    first, later = await inside.messages(anna.customer_id)
    assert (first.status, first.reason, first.attempts) == ("unknown", "process_lost", 1)
    assert api.texts_to(chat_of(anna)) == [first.text] * requests + [later.text]
    assert await inside.said_of(anna.customer_id) == [
        "MessageAccepted",
        "MessageOutcomeUnknown",
        "MessageAccepted",
        "MessageSent",
    ]


async def test_a_frozen_dispatcher_that_wakes_after_its_lease_sends_nothing(
    house: House, inside: Messaging, api: BotApi
) -> None:
    anna, bob = await inside.customer(), await inside.customer()
    await inside.hears(accrued(anna), accrued(bob))

    frozen = house.start("--only", "jobs", telegram_api=api.url, telegram_messages_per_s=2, **SHORT)
    await inside.until(
        lambda rows: len(api.requests) == 1 and rows[1].status == "sending", what="one is sent, one waits for its slot"
    )
    frozen.freeze()
    async with inside.dispatching(api):
        await inside.until(lambda rows: rows[1].status == "unknown", what="the lease has run out")
    frozen.thaw()
    assert await frozen.stop(within_s=60) == 0

    assert (await inside.message(bob.customer_id)).status == "unknown"
    assert api.texts_to(chat_of(bob)) == []


def test_a_lease_that_does_not_outlast_a_request_is_refused() -> None:
    with pytest.raises(ValueError, match="KOPILKA_TELEGRAM_LEASE_S must be more than KOPILKA_TELEGRAM_TIMEOUT_S"):
        MessagingSettings(telegram_timeout_s=10, telegram_lease_s=10)
