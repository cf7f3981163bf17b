"""What people write, and the answers of those who work for the chain."""

from uuid import uuid4

import httpx

from chassis.ids import new_id
from contracts.feedback import AppealAnswered, AppealOpened
from tests.services.feedback.world import Feedback
from tests.telegram_sandbox import RunningSandbox


async def answer(http: httpx.AsyncClient, appeal_id: object, text: str, key: str | None = None) -> httpx.Response:
    return await http.post(
        f"/appeals/{appeal_id}/answer", json={"text": text}, headers={"Idempotency-Key": key or str(uuid4())}
    )


async def test_any_other_text_is_an_appeal_with_a_number_and_its_answer_comes_into_the_chat(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    customer_id = await feedback.linked(anna)
    async with feedback.polling(), feedback.http() as http:
        await anna.writes("Where are my points?")
        await anna.hears("Ваше обращение № 1 принято")
        (opened,) = await feedback.said(AppealOpened)
        assert opened.customer_id == customer_id

        (listed,) = (await http.get("/appeals", params={"state": "open"})).json()["items"]
        assert (listed["id"], listed["number"], listed["text"]) == (str(opened.appeal_id), 1, "Where are my points?")
        assert (listed["state"], listed["delivery"]) == ("open", None)
        answered = await answer(http, opened.appeal_id, "  On your card since yesterday.  ")
        assert (answered.status_code, answered.json()) == (202, {"id": str(opened.appeal_id), "state": "answered"})
        await anna.hears("Ответ на ваше обращение № 1:\n\nOn your card since yesterday.")
        await feedback.until_rows("SELECT 1 FROM appeals WHERE delivery = 'delivered'")
        shown = (await http.get(f"/appeals/{opened.appeal_id}")).json()
        assert (shown["answer"], shown["delivery"]) == ("On your card since yesterday.", "delivered")
        assert (await http.get("/appeals", params={"state": "open"})).json()["items"] == []
    (said,) = await feedback.said(AppealAnswered)
    assert (said.appeal_id, said.customer_id) == (opened.appeal_id, customer_id)
    published = b"".join([row.value for row in await feedback.rows("SELECT value FROM outbox")])
    assert b"points?" not in published and b"yesterday" not in published


async def test_an_appeal_is_answered_once_and_a_repeated_request_gets_its_first_answer(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    await feedback.linked(anna)
    async with feedback.polling(), feedback.http() as http:
        await anna.writes("Hello?")
        (opened,) = await feedback.until_said(AppealOpened)
        first, repeated = [await answer(http, opened.appeal_id, "Hello!", key="one") for _ in range(2)]
        assert (first.status_code, repeated.status_code, repeated.json()) == (202, 202, first.json())
        other = await answer(http, opened.appeal_id, "Hello again!")
        assert (other.status_code, other.json()["type"]) == (409, "urn:kopilka:problem:appeal_answered")
        await anna.hears("Hello!")
        await feedback.until_all_is_handled()
    assert sum("Hello!" in text for text in anna.heard()) == 1


async def test_an_answer_that_cannot_arrive_is_known_to_be_undeliverable(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    async with feedback.polling(), feedback.http() as http:
        await anna.writes("Hello?")
        await anna.hears("принято")
        await anna.blocks()
        ((appeal_id,),) = await feedback.rows("SELECT id FROM appeals")
        assert (await answer(http, appeal_id, "Hello!")).status_code == 202
        await feedback.until_rows("SELECT 1 FROM appeals WHERE delivery = 'undeliverable'")


async def test_a_bad_answer_is_told_what_is_wrong(feedback: Feedback) -> None:
    async with feedback.http() as http:
        unknown = await answer(http, new_id(), "Hello!")
        assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:kopilka:problem:appeal_not_found")
        for text in (" ", "x" * 3501):
            refused = await answer(http, new_id(), text)
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "text")


async def test_whoever_writes_without_end_is_asked_to_wait(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    async with feedback.polling():
        for number in range(21):
            await anna.writes(str(number))
        await anna.hears("Много ваших обращений уже ждут ответа")
    assert await feedback.value("SELECT count(*) FROM appeals") == 20


async def test_what_is_no_text_is_told_so_and_an_unknown_command_gets_help(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person(language_code="en")
    async with feedback.polling():
        await anna.writes("/start")
        sticker(sandbox, anna.id)
        await anna.hears("I can only read text.")
        await anna.writes("/unknown")
        await anna.hears("/balance — Points on your card")
    assert await feedback.value("SELECT count(*) FROM appeals") == 0


def sticker(sandbox: RunningSandbox, chat_id: int) -> None:
    """A message of a kind that the sandbox's page has no button for."""
    sandbox.sandbox.world.updates.add(
        "message",
        {
            "message_id": 1000,
            "date": 1,
            "chat": {"id": chat_id, "type": "private", "first_name": "A"},
            "from": {"id": chat_id, "is_bot": False, "first_name": "A", "language_code": "en"},
            "dice": {"emoji": "🎲", "value": 6},
        },
    )


async def test_the_bot_keeps_out_of_groups(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    async with feedback.polling():
        for text in ("/start", "Hello?"):
            sandbox.sandbox.world.updates.add(
                "message",
                {
                    "message_id": 1,
                    "date": 1,
                    "chat": {"id": -100500, "type": "group", "title": "All"},
                    "from": {"id": anna.id, "is_bot": False, "first_name": "A"},
                    "text": text,
                },
            )
        await feedback.until_rows("SELECT 1 FROM telegram_updates HAVING count(*) = 2")
    assert await feedback.value("SELECT count(*) FROM chats") == 0
    assert await feedback.value("SELECT count(*) FROM appeals") == 0
