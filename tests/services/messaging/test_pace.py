"""How fast a channel is used: by one chat, by all chats together over all dispatchers, and as the provider asks."""

import asyncio
import contextlib
import itertools
import time
from functools import partial

import pytest

from services.messaging.dispatcher import slots_missed
from tests.harness import until
from tests.services.messaging.bot_api import BotApi, too_many
from tests.services.messaging.world import Messaging, accrued, chat_of


async def test_a_throttled_message_waits_as_told_and_is_tried_again(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    api.answers_to(chat_of(anna), too_many(1))
    await messaging.hears(accrued(anna))

    async with messaging.dispatching(api):
        await messaging.until_status("sent")

    first, second = api.requests
    assert second.at_s - first.at_s >= 1
    assert (await messaging.message(anna.customer_id)).attempts == 2
    assert await messaging.said_of(anna.customer_id) == ["MessageAccepted", "MessageSent"]


async def test_one_throttled_chat_does_not_hold_up_the_others(messaging: Messaging, api: BotApi) -> None:
    slow, quick = await messaging.customer(), await messaging.customer()
    api.answers_to(chat_of(slow), too_many(30))

    async with messaging.dispatching(api):
        await messaging.hears(accrued(slow))
        await messaging.until(lambda rows: rows[0].attempts == 1 and rows[0].status == "accepted", what="throttled")
        await messaging.hears(accrued(quick))
        await messaging.until(lambda rows: rows[1].status == "sent", what="the other one is sent")

    assert (await messaging.message(slow.customer_id)).status == "accepted"


async def test_two_throttled_chats_in_a_row_mean_that_the_bot_must_rest(messaging: Messaging, api: BotApi) -> None:
    customers = [await messaging.customer() for _ in range(3)]
    for customer in customers[:2]:
        api.answers_to(chat_of(customer), too_many(2))

    async with messaging.dispatching(api):
        for customer in customers[:2]:
            await messaging.hears(accrued(customer))
            await messaging.until(
                lambda rows: rows[-1].attempts == 1 and rows[-1].status == "accepted", what="throttled"
            )
        await messaging.hears(accrued(customers[2]))
        await messaging.until_status("sent")

    assert api.requests[2].at_s - api.requests[1].at_s >= 1.9


async def test_one_chat_gets_one_message_a_second(messaging: Messaging, api: BotApi) -> None:
    anna = await messaging.customer()
    await messaging.hears(*(accrued(anna, points) for points in range(1, 5)))

    async with (
        messaging.dispatching(api, telegram_chat_interval_s=0.4),
        messaging.dispatching(api, telegram_chat_interval_s=0.4),
    ):
        await messaging.until_status("sent")

    moments = [request.at_s for request in api.requests]
    assert min(later - earlier for earlier, later in itertools.pairwise(moments)) >= 0.4


def most_in_a_second(api: BotApi) -> int:
    moments = sorted(request.at_s for request in api.requests)
    return max(sum(start <= each < start + 1 for each in moments) for start in moments)


async def sent_at_least(api: BotApi, count: int) -> bool:
    return len(api.requests) >= count


async def test_all_chats_together_get_no_more_than_the_limit_over_all_dispatchers(
    messaging: Messaging, api: BotApi
) -> None:
    await messaging.hears(*[accrued(await messaging.customer()) for _ in range(60)])

    async with (
        messaging.dispatching(api, telegram_messages_per_s=25.0),
        messaging.dispatching(api, telegram_messages_per_s=25.0),
    ):
        await messaging.until_status("sent")

    assert len(api.requests) == 60
    assert api.requests[-1].at_s - api.requests[0].at_s < 10
    assert most_in_a_second(api) <= 30


async def test_what_was_due_while_a_dispatcher_stood_still_keeps_to_the_limit_too(
    messaging: Messaging, api: BotApi
) -> None:
    await messaging.hears(*[accrued(await messaging.customer()) for _ in range(60)])
    missed = slots_missed._value.get()

    async with messaging.dispatching(api, telegram_messages_per_s=25.0):
        await until(partial(sent_at_least, api, 20), what="it is at work")
        asyncio.get_running_loop().call_soon(time.sleep, 0.6)  # the dispatcher with its event loop stands still
        await messaging.until_status("sent")

    assert most_in_a_second(api) <= 30
    assert slots_missed._value.get() > missed
    assert {row.attempts for row in await messaging.messages()} == {1}


async def test_a_database_that_is_slower_than_a_slot_holds_up_no_message(
    messaging: Messaging, api: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = messaging.database.transaction

    @contextlib.asynccontextmanager
    async def slow():  # type: ignore[no-untyped-def]
        async with transaction() as tx:
            yield tx
            await tx.sql("SELECT pg_sleep(0.3)")

    monkeypatch.setattr(messaging.database, "transaction", slow)
    await messaging.hears(accrued(await messaging.customer()))
    async with messaging.dispatching(api):
        await messaging.until_status("sent", within_s=20)

    assert len(api.requests) == 1


async def test_dispatchers_side_by_side_send_each_message_once(messaging: Messaging, api: BotApi) -> None:
    customers = [await messaging.customer() for _ in range(50)]
    await messaging.hears(*(accrued(customer, points) for points in range(1, 5) for customer in customers))

    async with messaging.dispatching(api), messaging.dispatching(api), messaging.dispatching(api):
        await messaging.until_status("sent")

    assert len(api.requests) == 200
    assert len({(request.chat_id, request.text) for request in api.requests}) == 200
    assert {row.attempts for row in await messaging.messages()} == {1}
