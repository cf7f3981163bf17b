"""The whole service as processes, on Kafka, PostgreSQL and the sandbox's Telegram, and killed in between."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from chassis.ids import new_id
from chassis.publishing import Publisher
from contracts.records import Record
from services.feedback.__main__ import service
from tests.harness import House, Instance, until
from tests.infra import Kafka, Postgres
from tests.services.feedback.world import accrued, balance, contact
from tests.telegram_sandbox import PersonAtPhone, RunningSandbox

pytestmark = pytest.mark.timeout(400)
SEED = 20251122
LEASE_S = 2
PATIENCE_S = 90
"""Starting a process takes long where several suites run at once."""
BOT_ALONE = ("--only", "jobs", "--only", "relay")


@pytest.fixture
async def house(kafka: Kafka, postgres: Postgres) -> AsyncIterator[House]:
    async with House.built(service, kafka, postgres) as house:
        yield house


def start(house: House, sandbox: RunningSandbox, *arguments: str, **settings: object) -> Instance:
    bot = {"telegram_api": sandbox.url, "telegram_poll_lease_s": LEASE_S, "nps_pause_days": 0}
    return house.start(*arguments, **{**bot, **settings})


async def publish(kafka: Kafka, *records: Record) -> None:
    async with Publisher(kafka.bootstrap) as bus:
        for record in records:
            await bus.publish(record, event_id=new_id(), source="/test", time=datetime.now(UTC))


async def said(house: House, topic: str) -> list[tuple[str, dict[str, Any]]]:
    """Kind and content of each record on the topic."""
    found = await house.records(topic)
    return [((dict(each.headers)["ce_type"] or b"").decode(), orjson.loads(each.value or b"null")) for each in found]


async def until_said(house: House, topic: str, kind: str, count: int = 1) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = [content for each, content in await said(house, topic) if each == kind]
        return len(found) >= count

    await until(there, what=f"{count} {kind} on {topic}", within_s=PATIENCE_S, every_s=0.2)
    return found


async def ask_in_chat(sandbox: RunningSandbox, person: PersonAtPhone, command: dict[str, Any]) -> None:
    """What messaging does with the command."""
    rows = [
        [{"text": button["label"], "callback_data": button["data"]} for button in row] for row in command["buttons"]
    ]
    answer = await sandbox.http.post(
        f"/bot{sandbox.token}/sendMessage",
        json={"chat_id": person.id, "text": "How likely?", "reply_markup": {"inline_keyboard": rows}},
    )
    answer.raise_for_status()


async def test_from_start_to_an_answered_appeal(house: House, kafka: Kafka, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person("Анна", phone="+79161234567")
    customer_id = new_id()
    instance, _ = start(house, sandbox), start(house, sandbox)

    await anna.writes("/start")
    await anna.hears("Я бот программы лояльности", within_s=PATIENCE_S)
    await anna.shares_contact()
    (link,) = await until_said(house, "customers.commands", "customers.link_telegram.v1")
    assert (link["phone"], link["telegram_chat_id"]) == ("+79161234567", anna.id)
    await publish(kafka, balance(customer_id, 204))
    await house.until_drained()
    await publish(kafka, contact(customer_id, anna.id))
    await anna.hears("Готово: чат привязан к вашей карте. У вас 204 балла.", within_s=PATIENCE_S)
    await publish(kafka, balance(customer_id, 261))
    await house.until_drained()
    await anna.writes("/balance")
    await anna.hears("У вас 261 балл.")

    purchase = accrued(customer_id, receipt_id="367-1")
    await publish(kafka, purchase, purchase)
    (question,) = await until_said(house, "messaging.commands", "messaging.send_message.v1")
    await ask_in_chat(sandbox, anna, question)
    await anna.presses(question["buttons"][1][4]["data"])
    await anna.hears("Что вам нравится больше всего?")
    await anna.writes("The cheese")
    await anna.hears("Спасибо, записали.")
    await anna.writes("Where is my receipt?")
    await anna.hears("Ваше обращение № 1 принято")
    async with await instance.http() as http:
        (appeal,) = (await http.get("/appeals")).json()["items"]
        answered = await http.post(
            f"/appeals/{appeal['id']}/answer", json={"text": "In your mail."}, headers={"Idempotency-Key": "1"}
        )
        assert answered.status_code == 202
        await anna.hears("In your mail.")
        assert (await http.get("/reviews/nps")).json()["total"]["nps"] == 100.0
    await house.until_drained()

    told = await said(house, "feedback.events")
    assert [kind for kind, _ in told] == [
        "feedback.telegram_linked.v1",
        "feedback.review_left.v1",
        "feedback.review_commented.v1",
        "feedback.appeal_opened.v1",
        "feedback.appeal_answered.v1",
    ]
    assert {UUID(content["customer_id"]) for _, content in told} == {customer_id}
    assert told[1][1]["score"] == 10
    assert len(await said(house, "messaging.commands")) == 1


@pytest.mark.long
async def test_a_kill_between_the_commit_and_the_offset_leaves_one_review(
    house: House, kafka: Kafka, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    customer_id = new_id()
    first = start(house, sandbox)
    await anna.writes("/help")
    await anna.hears("/balance", within_s=PATIENCE_S)
    await publish(kafka, contact(customer_id, anna.id), accrued(customer_id))
    (question,) = await until_said(house, "messaging.commands", "messaging.send_message.v1")
    await ask_in_chat(sandbox, anna, question)
    await house.until_drained()
    await first.stop()

    killed = start(house, sandbox, *BOT_ALONE, failpoint="between_update_and_offset")
    await anna.presses(question["buttons"][0][2]["data"])
    assert await killed.until_dead(within_s=PATIENCE_S) == -9
    assert await house.value("SELECT count(*) FROM reviews") == 1
    assert len(sandbox.sandbox.world.updates) == 1

    start(house, sandbox, *BOT_ALONE)
    await anna.hears("Что пошло не так?", within_s=PATIENCE_S)
    await anna.writes("Stale bread")
    await anna.hears("Спасибо, записали.")
    await house.until_drained()
    kinds = [kind for kind, _ in await said(house, "feedback.events")]
    assert kinds.count("feedback.review_left.v1") == 1
    assert kinds.count("feedback.review_commented.v1") == 1
    assert await house.rows("SELECT score, comment FROM reviews") == [(2, "Stale bread")]


async def test_a_kill_before_a_line_is_settled_loses_no_line(house: House, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    killed = start(house, sandbox, *BOT_ALONE, failpoint="between_send_and_settle")
    await anna.writes("Hello?")
    assert await killed.until_dead(within_s=PATIENCE_S) == -9
    start(house, sandbox, *BOT_ALONE)
    await anna.writes("Still there?")
    await anna.hears("№ 2 принято", within_s=PATIENCE_S)
    first_lines = [text for text in anna.heard() if "№ 1 принято" in text]
    assert 1 <= len(first_lines) <= 2
    assert await house.value("SELECT count(*) FROM appeals") == 2


async def test_kills_at_any_moment_open_each_appeal_once(house: House, sandbox: RunningSandbox) -> None:
    moments = random.Random(SEED)
    people = [await sandbox.person(phone=f"+7916000{number:04}") for number in range(4)]
    async with house.database.transaction() as tx:
        for person in people:
            await tx.sql(
                "INSERT INTO customers (customer_id, chat_id, linked_at) VALUES ($1, $2, now())", new_id(), person.id
            )
    texts = [f"text {number}" for number in range(60)]
    for place, text in enumerate(texts):
        await people[place % 4].writes(text)
    for _ in range(2):
        killed = start(house, sandbox, *BOT_ALONE)
        wanted = await house.value("SELECT count(*) FROM telegram_updates") + moments.randrange(1, 15)

        async def some_are_handled(wanted: int = wanted) -> bool:
            return bool(await house.value("SELECT count(*) >= $1 FROM telegram_updates", wanted))

        await until(some_are_handled, what="updates are handled", within_s=PATIENCE_S, every_s=0.005)
        killed.kill()
    start(house, sandbox, *BOT_ALONE)

    async def all_is_done() -> bool:
        return bool(await house.value("SELECT count(*) = 60 FROM telegram_updates")) and not await house.rows(
            "SELECT id FROM outgoing UNION ALL SELECT id FROM outbox"
        )

    await until(all_is_done, what="every text is handled and answered", within_s=PATIENCE_S)
    found = [text for (text,) in await house.rows("SELECT text FROM appeals ORDER BY number")]
    assert sorted(found) == sorted(texts)
    for place in range(4):
        assert [text for text in found if text in texts[place::4]] == texts[place::4]
    opened = await until_said(house, "feedback.events", "feedback.appeal_opened.v1", 60)
    assert len({each["appeal_id"] for each in opened}) == len(opened) == 60


async def test_a_frozen_bot_is_taken_over_from_and_does_no_harm_when_it_wakes(
    house: House, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    frozen = start(house, sandbox, *BOT_ALONE)
    await anna.writes("text 0")
    await anna.hears("№ 1 принято", within_s=PATIENCE_S)
    other = start(house, sandbox, *BOT_ALONE)
    await other.until_it_said("service_starts", within_s=PATIENCE_S)
    frozen.freeze()
    await anna.writes("text 1")
    await anna.hears("№ 2 принято", within_s=PATIENCE_S)
    assert other.said("bot_leads")
    frozen.thaw()
    for number in range(2, 12):
        await anna.writes(f"text {number}")
    await anna.hears("№ 12 принято", within_s=PATIENCE_S)
    texts = [text for (text,) in await house.rows("SELECT text FROM appeals ORDER BY number")]
    assert texts == [f"text {number}" for number in range(12)]
    assert frozen.runs
