"""Sending over real HTTP: what each answer means, and what is never done twice."""

import asyncio
import contextlib
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts.messaging import ContactWentBad, MessageFailed, MessageOutcomeUnknown, MessageSent
from services.messaging.claims import Pace, claim
from services.messaging.dispatcher import Dispatcher
from services.messaging.outcomes import Held, Unknown, record
from services.messaging.settings import MessagingSettings
from services.messaging.telegram import Telegram
from tests.harness import until
from tests.services.messaging import bot_api as answers
from tests.services.messaging.bot_api import Answer, BotApi, bot_api, too_many
from tests.services.messaging.world import TOKEN, TRACE, Messaging, accrued, asked, chat_of, contact, erased

END_ALL_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"


async def test_a_message_is_sent_and_what_it_cost_is_recorded(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer(language="en")
    await messaging.hears(asked(anna, buttons=[[{"label": "0", "data": "nps:0"}, {"label": "1", "data": "nps:1"}]]))

    async with messaging.dispatching(api):
        await messaging.until_status("sent")

    (request,) = api.requests
    message = await messaging.message(anna.customer_id)
    assert request.path == f"/bot{TOKEN}/sendMessage"
    assert (request.chat_id, request.text) == (anna.telegram_chat_id, message.text)
    assert [[(each["text"], each["callback_data"]) for each in row] for row in request.buttons] == [
        [("0", "nps:0"), ("1", "nps:1")]
    ]
    assert (message.provider_message_id, message.cost_micros, message.cost_currency) == ("1", 0, "RUB")
    assert (message.attempts, message.reason, message.lease_until) == (1, None, None)
    assert message.accepted_at <= message.sending_at <= message.settled_at


async def test_it_is_said_that_it_was_sent_with_the_trace_of_the_purchase(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    await messaging.hears(accrued(anna))

    async with messaging.dispatching(api):
        await messaging.until_status("sent")

    _, said = await messaging.said()
    assert isinstance(said, MessageSent)
    assert (said.cost_micros, said.currency, said.channel) == (0, "RUB", "telegram")
    assert said.message_id == (await messaging.message(anna.customer_id)).id
    assert TRACE.split("-")[1].encode() in (await messaging.outbox())[1].headers


async def test_each_message_wakes_a_dispatcher_that_would_sleep_for_an_hour(messaging: Messaging, api: BotApi) -> None:
    async with messaging.dispatching(api, dispatch_poll_s=3600):
        for sent in range(1, 6):
            await messaging.hears(accrued(await messaging.customer()))
            await messaging.until_status("sent", within_s=30)
            assert len(api.requests) == sent


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answers.BLOCKED, "bot_blocked"),
        (answers.DEACTIVATED, "account_deleted"),
        (answers.NO_CHAT, "chat_not_found"),
    ],
)
async def test_a_contact_that_went_bad_is_said_once_until_it_is_good_again(
    messaging: Messaging, api: BotApi, answer: Answer, reason: str
) -> None:
    anna = await messaging.customer()
    api.answers_to(chat_of(anna), answer, answer, answers.OK, answer)

    async with messaging.dispatching(api):
        for count in range(1, 5):
            await messaging.hears(accrued(anna))
            await messaging.until(
                lambda rows, count=count: sum(row.settled_at is not None for row in rows) == count,  # type: ignore[misc]
                what=f"{count} settled",
            )

    rows = await messaging.messages(anna.customer_id)
    assert [(row.status, row.reason) for row in rows] == [
        ("failed", reason),
        ("failed", reason),
        ("sent", None),
        ("failed", reason),
    ]
    bad = [said for said in await messaging.said() if isinstance(said, ContactWentBad)]
    assert [(said.customer_id, said.channel, said.reason) for said in bad] == [
        (anna.customer_id, "telegram", reason)
    ] * 2


async def test_a_new_chat_may_go_bad_like_the_old_one(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    api.otherwise = answers.BLOCKED
    async with messaging.dispatching(api):
        await messaging.hears(accrued(anna))
        await messaging.until_status("failed")
        await messaging.hears(contact(anna.customer_id, chat=chat_of(anna), reachable=False))
        await messaging.hears(contact(anna.customer_id, chat=True))
        await messaging.hears(accrued(anna))
        await messaging.until(lambda rows: rows[1].status == "failed", what="the second one failed")

    assert sum(isinstance(said, ContactWentBad) for said in await messaging.said()) == 2


async def test_a_refused_message_fails_and_the_contact_stays_good(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    api.answers_to(chat_of(anna), answers.EMPTY)
    await messaging.hears(accrued(anna))

    async with messaging.dispatching(api):
        await messaging.until_status("failed")

    _, said = await messaging.said()
    assert isinstance(said, MessageFailed)
    assert (said.reason, said.channel) == ("refused", "telegram")


async def test_an_unreachable_provider_is_tried_until_it_answers(messaging: Messaging) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    anna, bob = await messaging.customer(), await messaging.customer()
    await messaging.hears(accrued(anna), accrued(bob))

    async with messaging.dispatching(f"http://127.0.0.1:{port}"):
        await messaging.until(lambda rows: any(row.attempts >= 2 for row in rows), what="tried twice")
        assert {row.status for row in await messaging.messages()} <= {"accepted", "sending"}
        async with bot_api(port) as api:
            await messaging.until_status("sent")

    assert len(api.requests) == 2


async def test_a_name_that_does_not_resolve_is_surely_not_sent(messaging: Messaging) -> None:
    anna = await messaging.customer()
    await messaging.hears(accrued(anna))

    async with messaging.dispatching("http://telegram.invalid"):
        await messaging.until(lambda rows: rows[0].attempts >= 2, what="tried twice")

    assert (await messaging.message(anna.customer_id)).status == "accepted"


async def test_a_refused_token_loses_no_message(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    api.answers_to(chat_of(anna), answers.BAD_TOKEN)
    await messaging.hears(accrued(anna))

    async with messaging.dispatching(api):
        await messaging.until_status("sent")

    assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answers.BROKEN, "server_error"),
        (answers.BAD_GATEWAY, "unreadable_answer"),
        (answers.NEVER, "timeout"),
        (answers.CUT, "connection_lost"),
        (answers.CUT_IN_THE_ANSWER, "connection_lost"),
        (Answer(200, "{}"), "unreadable_answer"),
    ],
    ids=["500", "502 in HTML", "no answer", "cut after reading", "cut in the answer", "not Telegram's JSON"],
)
async def test_an_ambiguous_answer_is_unknown_and_never_sent_again(
    messaging: Messaging, api: BotApi, answer: Answer, reason: str
) -> None:
    anna = await messaging.customer()
    api.answers_to(chat_of(anna), answer)
    await messaging.hears(accrued(anna))

    async with messaging.dispatching(api, telegram_timeout_s=0.3):
        await messaging.until_status("unknown")
        await messaging.hears(accrued(anna))
        await messaging.until(lambda rows: rows[1].status == "sent", what="the next one is sent")

    first, second = await messaging.messages(anna.customer_id)
    assert (first.status, first.reason, first.attempts) == ("unknown", reason, 1)
    assert api.texts_to(chat_of(anna)) == [first.text, second.text]
    said = [each for each in await messaging.said() if isinstance(each, MessageOutcomeUnknown)]
    assert [each.message_id for each in said] == [first.id]


async def test_a_provider_in_trouble_makes_few_messages_unknown(messaging: Messaging, api: BotApi) -> None:
    api.otherwise = answers.BROKEN
    customers = [await messaging.customer() for _ in range(40)]
    await messaging.hears(*map(accrued, customers))

    async with messaging.dispatching(api, telegram_messages_per_s=25.0):
        await messaging.until(lambda rows: sum(row.status == "unknown" for row in rows) >= 3, what="three unknown")
        assert len(api.requests) < 10
        api.otherwise = answers.OK
        await messaging.until(
            lambda rows: all(row.status in ("sent", "unknown") for row in rows), what="the rest is sent"
        )

    assert len(api.requests) == 40


async def test_what_is_claimed_already_when_the_trouble_begins_is_held_back(messaging: Messaging, api: BotApi) -> None:
    api.otherwise = answers.BROKEN
    for _ in range(2):
        await messaging.hears(accrued(await messaging.customer()))

    async with Telegram(api.url, TOKEN, timeout_s=20) as telegram:
        dispatcher = Dispatcher(messaging.database, telegram, MessagingSettings())
        async with messaging.database.transaction() as tx:
            offset_s = time.monotonic() - tx.now.timestamp()
            (first, second), _ = await claim(tx, dispatcher.pace, most=2, lead=timedelta())
        outcomes = [await dispatcher._send(each, offset_s) for each in (first, second)]

    assert [type(each) for each in outcomes] == [Unknown, Held]
    assert len(api.requests) == 1


async def test_messages_to_one_customer_arrive_in_their_order_whatever_happens_to_the_first(
    messaging: Messaging, api: BotApi
) -> None:
    anna = await messaging.customer()
    api.answers_to(chat_of(anna), too_many(1), answers.LATE, answers.BLOCKED, answers.BROKEN)
    await messaging.hears(*(accrued(anna, points) for points in range(1, 8)))

    async with messaging.dispatching(api), messaging.dispatching(api):
        await messaging.until(lambda rows: all(row.settled_at is not None for row in rows), what="all are settled")

    rows = await messaging.messages(anna.customer_id)
    assert api.texts_to(chat_of(anna)) == [rows[0].text, *(row.text for row in rows)]


async def test_a_consent_withdrawn_in_between_stops_the_advertisement(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer(advertising=True)
    await messaging.hears(asked(anna, purpose="advertising"))
    await messaging.hears(contact(anna.customer_id, chat=chat_of(anna), advertising=False))

    async with messaging.dispatching(api):
        await messaging.until_status("failed")

    message = await messaging.message(anna.customer_id)
    assert message.reason == "no_consent"
    assert api.requests == []
    assert await messaging.said_of(anna.customer_id) == ["MessageAccepted", "MessageFailed"]


async def test_a_withdrawal_that_is_being_committed_is_not_overtaken_by_the_claim(
    messaging: Messaging, api: BotApi
) -> None:
    anna = await messaging.customer(advertising=True)
    await messaging.hears(asked(anna, purpose="advertising"))

    async with messaging.database.transaction() as withdrawing:
        await withdrawing.sql("UPDATE contacts SET consents = '{}' WHERE customer_id = $1", anna.customer_id)
        async with messaging.dispatching(api):
            bob = await messaging.customer()
            await messaging.hears(accrued(bob))
            await messaging.until(lambda rows: rows[1].status == "sent", what="the dispatcher went on")
    async with messaging.dispatching(api):
        await messaging.until(lambda rows: rows[0].status == "failed", what="it failed")

    assert [request.chat_id for request in api.requests] == [bob.telegram_chat_id]


async def test_advertising_with_consent_is_sent(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer(advertising=True)
    await messaging.hears(asked(anna, purpose="advertising"))

    async with messaging.dispatching(api):
        await messaging.until_status("sent")


async def test_a_chat_that_is_gone_before_the_claim_fails_without_a_request(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    await messaging.hears(accrued(anna))
    await messaging.hears(contact(anna.customer_id, chat=False))

    async with messaging.dispatching(api):
        await messaging.until_status("failed")

    assert (await messaging.message(anna.customer_id)).reason == "no_channel"
    assert api.requests == []


async def test_what_expires_while_it_waits_is_not_sent(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    await messaging.hears(asked(anna, expires_at=datetime.now(UTC) + timedelta(hours=1)))
    messaging.ahead = timedelta(hours=1)

    async with messaging.dispatching(api):
        await messaging.until_status("expired")

    assert api.requests == []
    assert await messaging.said_of(anna.customer_id) == ["MessageAccepted", "MessageFailed"]


async def test_an_erased_customers_text_is_gone_though_it_was_being_sent(messaging: Messaging, api: BotApi) -> None:
    throttled, taken = await messaging.customer(), await messaging.customer()
    api.answers_to(chat_of(throttled), Answer(429, too_many(1).body, after_s=0.5))
    api.answers_to(chat_of(taken), answers.LATE)
    await messaging.hears(accrued(throttled), accrued(taken))

    async with messaging.dispatching(api):
        await messaging.until(lambda rows: len(api.requests) == 2, what="both are under way")
        await messaging.hears(erased(throttled), erased(taken))
        await messaging.until(lambda rows: all(row.settled_at is not None for row in rows), what="both are settled")

    refused, sent = await messaging.messages()
    assert (refused.status, refused.reason, refused.text) == ("failed", "erased", None)
    assert (sent.status, sent.text) == ("sent", None)
    assert len(api.requests) == 2


async def test_a_message_whose_process_fell_silent_is_unknown_after_its_lease(
    messaging: Messaging, api: BotApi
) -> None:
    anna = await messaging.customer()
    await messaging.hears(accrued(anna))
    await claimed_by_a_process_that_died(messaging)

    async with messaging.dispatching(api):
        bob = await messaging.customer()
        await messaging.hears(accrued(bob))
        await messaging.until(lambda rows: rows[1].status == "sent", what="the dispatcher works")
        assert (await messaging.message(anna.customer_id)).status == "sending"
        messaging.ahead = timedelta(minutes=1)
        await messaging.until(lambda rows: rows[0].status == "unknown", what="the lease has run out")

    assert (await messaging.message(anna.customer_id)).reason == "process_lost"
    assert await messaging.said_of(anna.customer_id) == ["MessageAccepted", "MessageOutcomeUnknown"]
    assert api.texts_to(chat_of(anna)) == []


async def claimed_by_a_process_that_died(messaging: Messaging) -> None:
    async with messaging.database.transaction() as tx:
        await tx.sql(
            "UPDATE messages SET status = 'sending', attempts = attempts + 1, sending_at = $1, lease_until = $2",
            tx.now,
            tx.now + timedelta(seconds=30),
        )


async def test_an_answer_that_comes_after_the_lease_makes_the_unknown_known(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    api.answers_to(chat_of(anna), Answer(after=(release := asyncio.Event())))
    await messaging.hears(accrued(anna))

    async with messaging.dispatching(api, telegram_lease_s=0.1):
        await messaging.until(lambda _: len(api.requests) == 1, what="it is under way")
        async with messaging.dispatching(api):
            await messaging.until_status("unknown")
            release.set()
            await messaging.until_status("sent")

    assert len(api.requests) == 1
    assert await messaging.said_of(anna.customer_id) == ["MessageAccepted", "MessageOutcomeUnknown", "MessageSent"]


async def test_an_old_answer_does_not_settle_a_later_attempt(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    old, new = asyncio.Event(), asyncio.Event()
    api.answers_to(chat_of(anna), Answer(403, answers.BLOCKED.body, after=old), Answer(after=new))
    await messaging.hears(accrued(anna))

    async with messaging.dispatching(api, telegram_lease_s=0.1) as silent:
        await messaging.until_status("unknown")
        silent.pace = replace(silent.pace, lease=timedelta(seconds=30))
        async with messaging.database.transaction() as tx:
            await tx.sql("UPDATE messages SET status = 'accepted'")
        await messaging.until(lambda _: len(api.requests) == 2, what="it is sent a second time")
        old.set()
        bob = await messaging.customer()
        await messaging.hears(accrued(bob))
        await messaging.until(
            lambda rows: rows[1].status == "sent", what="the old answer has come, and others after it"
        )
        new.set()
        await messaging.until_status("sent")

    assert "MessageFailed" not in await messaging.said_of(anna.customer_id)


async def test_a_dispatcher_that_stops_puts_back_what_it_has_not_sent_and_waits_for_answers(
    messaging: Messaging, api: BotApi
) -> None:
    api.otherwise = answers.LATE
    customers = [await messaging.customer() for _ in range(10)]
    await messaging.hears(*map(accrued, customers))

    async with messaging.dispatching(api, telegram_messages_per_s=2.0):
        await messaging.until(lambda _: len(api.requests) >= 2, what="the first are under way")

    rows = await messaging.messages()
    assert {row.status for row in rows} == {"sent", "accepted"}
    assert sum(row.status == "sent" for row in rows) == len(api.requests) < 10


async def test_an_outcome_is_recorded_though_the_database_fell_over_meanwhile(
    messaging: Messaging, api: BotApi
) -> None:
    anna = await messaging.customer()
    api.answers_to(chat_of(anna), answers.LATE)
    await messaging.hears(accrued(anna))

    async with messaging.dispatching(api):
        await messaging.until(lambda _: len(api.requests) == 1, what="it is under way")
        with contextlib.suppress(Exception):
            await messaging.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            )

        async def sent() -> bool:
            with contextlib.suppress(Exception):
                return bool((await messaging.message(anna.customer_id)).status == "sent")
            return False

        await until(sent, what="it is recorded")

    assert len(api.requests) == 1
    assert await messaging.said_of(anna.customer_id) == ["MessageAccepted", "MessageSent"]


async def test_a_claim_whose_commit_is_doubtful_sends_its_messages_once(
    messaging: Messaging, api: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = await messaging.customer()
    transaction = messaging.database.transaction
    broken: list[bool] = []

    @contextlib.asynccontextmanager
    async def breaking_once_after_a_claim():  # type: ignore[no-untyped-def]
        async with transaction() as tx:
            yield tx
        if not broken and await messaging.rows("SELECT 1 FROM messages WHERE status = 'sending'"):
            broken.append(True)
            raise ConnectionResetError

    monkeypatch.setattr(messaging.database, "transaction", breaking_once_after_a_claim)
    await messaging.hears(accrued(anna))
    async with messaging.dispatching(api):
        await messaging.until_status("sent")

    assert broken
    assert len(api.requests) == 1


async def test_a_claim_that_was_not_committed_does_not_put_back_another_process_claim(messaging: Messaging) -> None:
    await messaging.hears(accrued(await messaging.customer()))
    pace = Pace(interval=timedelta(seconds=0.04), lease=timedelta(seconds=30))
    with contextlib.suppress(ConnectionResetError):
        async with messaging.database.transaction() as tx:
            (ours,), _ = await claim(tx, pace, most=1, lead=timedelta())
            raise ConnectionResetError
    async with messaging.database.transaction() as tx:
        (theirs,), _ = await claim(tx, pace, most=1, lead=timedelta())

    async with messaging.database.transaction() as tx:
        await record(tx, ours, Held(), chat_interval=timedelta(seconds=1))

    assert ours.attempts == theirs.attempts
    assert [row.status for row in await messaging.messages()] == ["sending"]
