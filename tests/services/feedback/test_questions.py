"""Who is asked the NPS question after a purchase, and how often."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from chassis.ids import new_id
from contracts.fields import Channel
from contracts.messaging import SendMessage
from services.feedback import outgoing
from services.feedback.chats import note_blocked
from services.feedback.settings import feedback_settings
from tests.services.feedback.world import TRACE, Feedback, OpenFeedback, accrued, contact
from tests.telegram_sandbox import RunningSandbox

DAY = timedelta(days=1)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every purchase is asked about."""
    _pause(monkeypatch, 0)


@pytest.fixture(autouse=True)
def usual_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    _pause(monkeypatch, 14)


def _pause(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    rules = feedback_settings().model_copy(update={"nps_pause_days": days})
    monkeypatch.setattr("services.feedback.handlers.feedback_settings", lambda: rules)


async def asked(feedback: Feedback) -> list[UUID]:
    return [command.customer_id for command in await feedback.said(SendMessage)]


async def test_a_purchase_of_a_linked_customer_is_asked_about_with_eleven_buttons(feedback: Feedback) -> None:
    customer_id = new_id()
    await feedback.hears(contact(customer_id, 100500))
    await feedback.hears(accrued(customer_id, store_id="367"))
    (question,) = await feedback.said(SendMessage)
    ((question_id,),) = await feedback.rows("SELECT id FROM questions")
    assert (question.customer_id, question.template, question.purpose) == (customer_id, "nps_question", "service")
    assert question.message_key == f"nps:{question_id}"
    assert question.parameters == {"store_id": "367", "total_minor": 114_000, "currency": "RUB"}
    buttons = [(button.label, button.data) for row in question.buttons for button in row]
    assert buttons == [(str(score), f"nps:{question_id}:{score}") for score in range(11)]
    assert all(len(data.encode()) <= 64 for _, data in buttons)
    assert await feedback.value("SELECT headers FROM outbox WHERE topic = 'messaging.commands'") is not None
    assert TRACE.encode() in await feedback.value("SELECT headers FROM outbox WHERE topic = 'messaging.commands'")


@pytest.mark.parametrize("who", ["a stranger", "an unlinked one", "one who cannot be reached"])
async def test_nobody_is_asked_whom_the_bot_cannot_write_to(feedback: Feedback, who: str) -> None:
    customer_id = new_id()
    unreachable: list[Channel] = ["telegram"] if who == "one who cannot be reached" else []
    if who != "a stranger":
        await feedback.hears(contact(customer_id, 100500, unreachable=unreachable))
    if who == "an unlinked one":
        await feedback.hears(contact(customer_id, None))
    await feedback.hears(accrued(customer_id))
    assert await asked(feedback) == []


async def test_who_blocked_the_bot_is_not_asked_until_they_come_back(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    customer_id = await feedback.linked(anna)
    async with feedback.polling():
        await anna.writes("/start")
        await anna.blocks()
        await feedback.until_rows("SELECT 1 FROM chats WHERE blocked_at IS NOT NULL")
        await feedback.hears(accrued(customer_id))
        assert await asked(feedback) == []
        await anna.unblocks()
        await feedback.until_rows("SELECT 1 FROM chats WHERE blocked_at IS NULL")
        await feedback.hears(accrued(customer_id))
    assert await asked(feedback) == [customer_id]


@pytest.mark.parametrize(("asked_after_the_return", "is_blocked"), [(False, False), (True, True)])
async def test_a_refusal_that_comes_late_does_not_block_who_has_come_back(
    feedback: Feedback, asked_after_the_return: bool, is_blocked: bool
) -> None:
    async with feedback.database.transaction() as tx:
        asked_at = tx.now
        await outgoing.write(tx, 100500, "Hello!")
        await note_blocked(tx, 100500, is_blocked=True)
    async with feedback.database.transaction() as tx:
        await note_blocked(tx, 100500, is_blocked=False)
        came_back_at = tx.now
    async with feedback.database.transaction() as tx:
        (line,) = await outgoing.due(tx, most=1)
        await outgoing.undeliverable(tx, line, blocked_at=came_back_at if asked_after_the_return else asked_at)

    assert await feedback.value("SELECT blocked_at IS NOT NULL FROM chats") is is_blocked
    assert await feedback.value("SELECT count(*) FROM outgoing") == 0


async def test_a_customer_is_asked_once_within_the_pause_and_again_after_it(feedback: Feedback) -> None:
    customer_id = new_id()
    await feedback.hears(contact(customer_id, 100500))
    await feedback.hears(accrued(customer_id), accrued(customer_id))
    feedback.ahead = 14 * DAY - timedelta(minutes=1)
    await feedback.hears(accrued(customer_id))
    assert await asked(feedback) == [customer_id]
    feedback.ahead = 14 * DAY + timedelta(minutes=1)
    await feedback.hears(accrued(customer_id))
    assert await asked(feedback) == [customer_id] * 2


@pytest.mark.usefixtures("always")
async def test_without_a_pause_every_receipt_is_asked_about_and_each_once_however_often_it_comes(
    feedback: Feedback,
) -> None:
    customer_id = new_id()
    await feedback.hears(contact(customer_id, 100500))
    await feedback.hears(accrued(customer_id, receipt_id="1"), accrued(customer_id, receipt_id="2"))
    await feedback.hears(accrued(customer_id, receipt_id="1"), accrued(customer_id, receipt_id="1"))
    await feedback.hears(accrued(customer_id, receipt_id="3"), accrued(customer_id, receipt_id="3"))
    assert await asked(feedback) == [customer_id] * 3


@pytest.mark.usefixtures("always")
async def test_a_purchase_that_two_workers_hear_of_at_once_is_asked_about_once(open_feedback: OpenFeedback) -> None:
    workers = [open_feedback() for _ in range(4)]
    customers = [new_id() for _ in range(30)]
    await workers[0].hears(*(contact(customer_id, 1000 + place) for place, customer_id in enumerate(customers)))
    purchases = [accrued(customer_id) for customer_id in customers]
    await asyncio.gather(*(worker.hears(*purchases) for worker in workers))
    assert sorted(await asked(workers[0])) == sorted(customers)


async def test_nobody_is_asked_about_a_purchase_of_the_day_before_yesterday(feedback: Feedback) -> None:
    customer_id = new_id()
    await feedback.hears(contact(customer_id, 100500))
    await feedback.hears(accrued(customer_id), time=feedback.now() - 2 * DAY)
    assert await asked(feedback) == []


@pytest.mark.usefixtures("always")
async def test_a_question_that_waited_for_messaging_for_a_day_is_not_sent_any_more(feedback: Feedback) -> None:
    customer_id = new_id()
    await feedback.hears(contact(customer_id, 100500))
    await feedback.hears(accrued(customer_id))
    (question,) = await feedback.said(SendMessage)
    assert question.expires_at is not None
    assert timedelta(hours=23) < question.expires_at - feedback.now() <= DAY


@pytest.mark.usefixtures("always")
async def test_it_is_the_member_of_a_family_who_bought_that_is_asked(feedback: Feedback) -> None:
    anna, boris = new_id(), new_id()
    await feedback.hears(contact(anna, 100500), contact(boris, 100501))

    await feedback.hears(accrued(anna).model_copy(update={"buyer_id": boris}), accrued(anna))

    assert await asked(feedback) == [boris, anna]
    rows = await feedback.rows("SELECT customer_id, asked_at IS NOT NULL AS asked FROM customers")
    assert {row.customer_id: row.asked for row in rows} == {anna: True, boris: True}
