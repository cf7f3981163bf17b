"""What people read of messages over HTTP, and sending one again."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

import services.messaging
from chassis.http import build_app
from chassis.ids import new_id
from chassis.settings import Settings
from services.messaging.api import router
from tests.services.messaging import bot_api as answers
from tests.services.messaging.bot_api import BotApi
from tests.services.messaging.world import TRACE, Messaging, accrued, asked, chat_of, contact, erased


@pytest.fixture
async def http(messaging: Messaging) -> AsyncIterator[httpx.AsyncClient]:
    async def ready() -> Sequence[str]:
        return []

    app = build_app(
        "messaging",
        router,
        messaging.database,
        settings=Settings(),
        readiness=ready,
        texts=Path(services.messaging.__file__).parent,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


async def get(http: httpx.AsyncClient, path: str, **parameters: object) -> Any:
    answer = await http.get(path, params={name: str(value) for name, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def again(http: httpx.AsyncClient, message_id: UUID, *, language: str = "en") -> httpx.Response:
    headers = {"Idempotency-Key": str(new_id()), "Accept-Language": language}
    return await http.post(f"/messages/{message_id}/send-again", headers=headers)


async def test_a_message_is_shown_whole(http: httpx.AsyncClient, messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer(language="en")
    command = asked(anna, buttons=[[{"label": "0", "data": "nps:0"}]])
    await messaging.hears(command)
    async with messaging.dispatching(api):
        await messaging.until_status("sent")
    row = await messaging.message(anna.customer_id)

    shown = await get(http, f"/messages/{row.id}")

    moments = {name: shown.pop(name) for name in ("accepted_at", "sending_at", "settled_at")}
    assert all(datetime.fromisoformat(moment) <= datetime.now(UTC) for moment in moments.values())
    assert shown == {
        "id": str(row.id),
        "message_key": command.message_key,
        "customer_id": str(anna.customer_id),
        "template": "nps_question",
        "purpose": "service",
        "language": "en",
        "text": row.text,
        "buttons": [[{"label": "0", "data": "nps:0"}]],
        "channel": "telegram",
        "status": "sent",
        "reason": None,
        "provider_message_id": "1",
        "cost_micros": 0,
        "cost_currency": "RUB",
        "attempts": 1,
        "due_at": None,
        "expires_at": None,
        "trace_id": TRACE.split("-")[1],
    }


async def test_messages_are_listed_newest_first_page_by_page(http: httpx.AsyncClient, messaging: Messaging) -> None:
    anna, bob = await messaging.customer(), await messaging.customer()
    await messaging.hears(accrued(anna), asked(anna), accrued(bob), accrued(anna), accrued(anna))
    mine = [str(row.id) for row in await messaging.messages(anna.customer_id)]

    first = await get(http, "/messages", customer_id=anna.customer_id, limit=3)
    second = await get(http, "/messages", customer_id=anna.customer_id, limit=3, cursor=first["next"])

    assert sorted([item["id"] for item in first["items"] + second["items"]]) == sorted(mine)
    assert [item["id"] for item in first["items"]] == sorted(mine, reverse=True)[:3]
    assert (len(second["items"]), second["next"]) == (1, None)


async def test_messages_are_found_by_status_template_and_date(http: httpx.AsyncClient, messaging: Messaging) -> None:
    anna, nobody = await messaging.customer(), await messaging.customer(chat=False)
    await messaging.hears(accrued(anna), asked(anna), accrued(nobody))
    messaging.ahead = timedelta(days=2)
    await messaging.hears(accrued(anna))
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    async def found(**filters: object) -> int:
        return len((await get(http, "/messages", **filters))["items"])

    assert await found(status="failed") == 1
    assert await found(template="nps_question") == 1
    assert await found(template="points_accrued", status="accepted") == 2
    assert await found(**{"from": tomorrow.isoformat()}) == 1
    assert await found(to=tomorrow.isoformat(), customer_id=anna.customer_id) == 2


async def test_totals_are_counted_by_the_days_of_a_time_zone(http: httpx.AsyncClient, messaging: Messaging) -> None:
    anna, nobody = await messaging.customer(), await messaging.customer(chat=False)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    messaging.ahead = midnight + timedelta(hours=22) - datetime.now(UTC)
    await messaging.hears(accrued(anna), accrued(nobody), asked(nobody))
    async with messaging.database.transaction() as tx:
        await tx.sql(
            "UPDATE messages SET status = 'sent', cost_micros = 1500000, cost_currency = 'RUB' WHERE customer_id = $1",
            anna.customer_id,
        )
    period = {"from": (midnight - timedelta(days=1)).isoformat(), "to": (midnight + timedelta(days=2)).isoformat()}

    in_utc = await get(http, "/messages/totals", **period)
    in_moscow = await get(http, "/messages/totals", time_zone="Europe/Moscow", **period)

    sent = {"channel": "telegram", "status": "sent", "messages": 1, "cost_micros": 1500000, "cost_currency": "RUB"}
    failed = {"channel": None, "status": "failed", "messages": 2, "cost_micros": 0, "cost_currency": None}
    today, tomorrow = str(midnight.date()), str(midnight.date() + timedelta(days=1))
    assert in_utc == [{"day": today, **sent}, {"day": today, **failed}]
    assert in_moscow == [{"day": tomorrow, **sent}, {"day": tomorrow, **failed}]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"from": "2025-11-02T00:00:00Z", "to": "2025-11-01T00:00:00Z"}, "to"),
        ({"from": "2023-11-02T00:00:00Z", "to": "2025-11-01T00:00:00Z"}, "to"),
        ({"from": "2025-11-02T00:00:00", "to": "2025-11-03T00:00:00Z"}, "from"),
        ({"from": "2025-11-01T00:00:00Z", "to": "2025-11-02T00:00:00Z", "time_zone": "Mars"}, "time_zone"),
        ({"to": "2025-11-02T00:00:00Z"}, "from"),
    ],
)
async def test_a_bad_period_is_refused_with_the_field(
    http: httpx.AsyncClient, parameters: dict[str, str], field: str
) -> None:
    answer = await http.get("/messages/totals", params=parameters)

    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("path", ["/messages", "/messages/totals"])
@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
async def test_a_moment_beyond_all_calendars_is_refused_with_its_field(
    http: httpx.AsyncClient, path: str, moment: str
) -> None:
    for field, other in (("from", "to"), ("to", "from")):
        answer = await http.get(path, params={field: moment, other: "2025-11-02T00:00:00Z"})

        assert answer.status_code == 422
        assert [fault["field"] for fault in answer.json()["errors"]] == [field]


async def test_an_unknown_message_is_sent_again_when_an_operator_says_so(
    http: httpx.AsyncClient, messaging: Messaging, api: BotApi
) -> None:
    anna = await messaging.customer()
    api.answers_to(chat_of(anna), answers.CUT)
    await messaging.hears(accrued(anna))
    async with messaging.dispatching(api):
        await messaging.until_status("unknown")
        message = await messaging.message(anna.customer_id)

        answer = await again(http, message.id)

        assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (202, "accepted", None)
        await messaging.until_status("sent")

    assert api.texts_to(chat_of(anna)) == [message.text] * 2
    assert await messaging.said_of(anna.customer_id) == [
        "MessageAccepted",
        "MessageOutcomeUnknown",
        "MessageAccepted",
        "MessageSent",
    ]


async def test_the_same_request_sends_again_once(http: httpx.AsyncClient, messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    api.answers_to(chat_of(anna), answers.CUT, answers.CUT)
    await messaging.hears(accrued(anna))
    async with messaging.dispatching(api):
        await messaging.until_status("unknown")
        message = await messaging.message(anna.customer_id)
        path, headers = f"/messages/{message.id}/send-again", {"Idempotency-Key": "once"}
        first = await http.post(path, headers=headers)
        await messaging.until(lambda rows: rows[0].attempts == 2 and rows[0].status == "unknown", what="tried again")
        second = await http.post(path, headers=headers)

    assert first.json() == second.json()
    assert (await messaging.message(anna.customer_id)).status == "unknown"


async def test_a_message_without_a_channel_is_sent_once_there_is_one(
    http: httpx.AsyncClient, messaging: Messaging, api: BotApi
) -> None:
    anna = await messaging.customer(chat=False)
    await messaging.hears(accrued(anna))
    message = await messaging.message(anna.customer_id)

    refused = await again(http, message.id)
    await messaging.hears(contact(anna.customer_id))
    taken = await again(http, message.id)
    async with messaging.dispatching(api):
        await messaging.until_status("sent")

    assert (refused.status_code, refused.json()["type"]) == (409, "urn:kopilka:problem:no_channel")
    assert taken.status_code == 202
    assert [request.text for request in api.requests] == [message.text]


async def test_what_must_not_be_sent_again_is_not(http: httpx.AsyncClient, messaging: Messaging, api: BotApi) -> None:
    customers = [await messaging.customer() for _ in range(3)]
    sent, waiting, gone = customers
    unwilling = await messaging.customer(advertising=False)
    await messaging.hears(accrued(sent))
    async with messaging.dispatching(api):
        await messaging.until_status("sent")
    await messaging.hears(accrued(waiting), accrued(gone), asked(unwilling, purpose="advertising"))
    await messaging.hears(erased(gone))

    async def code(message_id: UUID) -> str:
        answer = await again(http, message_id)
        return f"{answer.status_code} {answer.json()['type'].rpartition(':')[2]}"

    ids = {row.customer_id: row.id for row in await messaging.messages()}
    assert await code(ids[sent.customer_id]) == "409 message_already_sent"
    assert await code(ids[waiting.customer_id]) == "409 message_not_settled"
    assert await code(ids[gone.customer_id]) == "409 text_erased"
    assert await code(ids[unwilling.customer_id]) == "409 no_consent"
    assert await code(new_id()) == "404 message_not_found"


async def test_an_expired_one_is_refused_in_the_operators_language(
    http: httpx.AsyncClient, messaging: Messaging
) -> None:
    nobody = await messaging.customer(chat=False)
    await messaging.hears(asked(nobody, expires_at=datetime.now(UTC) + timedelta(minutes=1)))
    messaging.ahead = timedelta(minutes=2)

    answer = await again(http, (await messaging.message(nobody.customer_id)).id, language="ru")

    assert answer.status_code == 409
    assert answer.json()["title"] == "Сообщение устарело"
