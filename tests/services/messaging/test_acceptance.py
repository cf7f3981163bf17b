import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.ids import new_id
from chassis.migrations import differences
from contracts.messaging import MessageAccepted, MessageFailed
from tests.off_the_bus import came
from tests.services.messaging.world import (
    TRACE,
    Messaging,
    Open,
    accrued,
    asked,
    chat_of,
    contact,
    erased,
    returned,
)


async def test_the_migrated_database_is_as_the_tables_say(messaging: Messaging) -> None:
    assert await differences(messaging.database.engine, "messaging") == []


async def test_a_purchase_becomes_a_message_in_the_customers_language(messaging: Messaging) -> None:
    anna, bob = await messaging.customer(language="ru"), await messaging.customer(language="en")

    await messaging.hears(accrued(anna), accrued(bob))

    to_anna, to_bob = await messaging.message(anna.customer_id), await messaging.message(bob.customer_id)
    assert to_anna.text.replace("\N{NO-BREAK SPACE}", " ") == (
        "+57 баллов за покупку на 1 140 ₽ в магазине 367; на счёте 204"
    )
    assert to_bob.text.replace("\N{NO-BREAK SPACE}", " ") == (
        "+57 points for your purchase of RUB 1,140 at store 367; balance 204"
    )
    assert (to_bob.template, to_bob.channel, to_bob.status) == ("points_accrued", "telegram", "accepted")
    assert (to_bob.language, to_bob.purpose, to_bob.traceparent) == ("en", "service", TRACE)


async def test_who_earned_nothing_because_they_are_blocked_is_not_told(messaging: Messaging) -> None:
    anna = await messaging.customer()
    await messaging.hears(accrued(anna, 0).model_copy(update={"withheld": "account_frozen"}), accrued(anna, 57))
    (message,) = await messaging.messages()
    assert "57" in message.text


async def test_a_return_becomes_a_message(messaging: Messaging) -> None:
    anna = await messaging.customer(language="en")

    await messaging.hears(returned(anna))

    message = await messaging.message(anna.customer_id)
    assert message.text.startswith("−12 points for your return of ")


async def test_the_acceptance_is_said_with_the_trace_of_the_purchase(messaging: Messaging) -> None:
    anna = await messaging.customer()

    await messaging.hears(accrued(anna))

    (said,) = await messaging.said()
    message = await messaging.message(anna.customer_id)
    assert isinstance(said, MessageAccepted)
    assert (said.message_id, said.message_key) == (message.id, message.message_key)
    assert TRACE.encode() in (await messaging.outbox())[0].headers


@pytest.mark.parametrize("known", [True, False])
async def test_a_customer_without_a_channel_is_recorded_and_said_and_no_error(
    messaging: Messaging, known: bool
) -> None:
    customer = await messaging.customer(chat=False) if known else contact(new_id())

    await messaging.hears(accrued(customer))

    message = await messaging.message(customer.customer_id)
    (said,) = await messaging.said()
    assert (message.status, message.reason, message.channel) == ("failed", "no_channel", None)
    assert isinstance(said, MessageFailed)
    assert (said.reason, said.channel, said.message_id) == ("no_channel", None, message.id)
    assert (message.text is not None) is known
    assert await messaging.dead_letters() == []


async def test_a_purchase_that_is_heard_again_is_told_once(messaging: Messaging) -> None:
    anna = await messaging.customer()
    purchase = accrued(anna)

    await messaging.hears(purchase, purchase)
    await messaging.hears(purchase)

    assert len(await messaging.messages()) == 1
    assert len(await messaging.said()) == 1


async def test_two_instances_that_hear_the_same_at_once_accept_it_once(open_messaging: Open) -> None:
    one, two = open_messaging(), open_messaging()
    customers = [await one.customer() for _ in range(20)]
    commands = [asked(customer) for customer in customers]

    await asyncio.gather(one.hears(*commands), two.hears(*reversed(commands)))

    assert len(await one.messages()) == 20
    assert len(await one.said()) == 20
    assert await one.dead_letters() == []


async def test_a_message_that_is_asked_for_has_its_buttons(messaging: Messaging) -> None:
    anna = await messaging.customer(language="en")
    row = [{"label": str(score), "data": f"nps:r1:{score}"} for score in range(11)]

    await messaging.hears(asked(anna, buttons=[row]))

    message = await messaging.message(anna.customer_id)
    assert message.text.startswith("Your purchase of RUB\N{NO-BREAK SPACE}1,140 at store 367: how likely")
    assert message.buttons == [row]


@pytest.mark.parametrize(
    ("fault", "reason", "named"),
    [
        ({"template": "birthday"}, "unknown_template", "template: there is no birthday"),
        ({"parameters": {"store_id": "367", "currency": "RUB"}}, "bad_parameters", "parameters.total_minor"),
        ({"buttons": [[{"label": "ё", "data": "ё" * 33}]]}, "bad_buttons", "buttons.data"),
        ({"buttons": [[{"label": "1", "data": "1"}] * 101]}, "bad_buttons", "buttons: 101 are given"),
    ],
)
async def test_a_command_that_cannot_be_done_is_a_dead_letter_and_its_neighbours_are_accepted(
    messaging: Messaging, fault: dict[str, Any], reason: str, named: str
) -> None:
    anna, bob = await messaging.customer(), await messaging.customer()

    await messaging.hears(asked(anna), asked(anna, **fault), asked(bob))

    ((died_of, detail),) = await messaging.dead_letters()
    assert died_of == reason
    assert named in detail
    assert [message.status for message in await messaging.messages()] == ["accepted", "accepted"]


async def test_a_key_that_was_used_for_another_message_is_refused(messaging: Messaging) -> None:
    anna, bob = await messaging.customer(), await messaging.customer()
    await messaging.hears(asked(anna, message_key="k"))

    await messaging.hears(asked(anna, message_key="k"), asked(bob, message_key="k"))

    assert len(await messaging.messages()) == 1
    assert [reason for reason, _ in await messaging.dead_letters()] == ["message_key_reused"]


async def test_advertising_without_consent_fails_when_it_is_asked_for(messaging: Messaging) -> None:
    willing, unwilling = await messaging.customer(advertising=True), await messaging.customer(advertising=False)

    await messaging.hears(asked(willing, purpose="advertising"), asked(unwilling, purpose="advertising"))

    assert (await messaging.message(willing.customer_id)).status == "accepted"
    refused = await messaging.message(unwilling.customer_id)
    assert (refused.status, refused.reason) == ("failed", "no_consent")
    assert await messaging.said_of(unwilling.customer_id) == ["MessageFailed"]


async def test_consent_for_another_channel_is_none_for_this_one(messaging: Messaging) -> None:
    anna = contact(new_id()).model_dump()
    for_mail = {"channel": "email", "given_at": datetime.now(UTC)}
    customer = contact(new_id()).model_validate({**anna, "consents": [for_mail]})
    await messaging.hears(customer)

    await messaging.hears(asked(customer, purpose="advertising"))

    assert (await messaging.message(customer.customer_id)).reason == "no_consent"


async def test_a_customer_whose_channel_is_dead_is_not_written_to_until_it_lives_again(messaging: Messaging) -> None:
    anna = await messaging.customer()
    chat = chat_of(anna)

    await messaging.hears(contact(anna.customer_id, chat=chat, reachable=False))
    await messaging.hears(accrued(anna))
    await messaging.hears(contact(anna.customer_id, chat=chat, reachable=True))
    await messaging.hears(accrued(anna))

    first, second = await messaging.messages(anna.customer_id)
    assert (first.status, first.reason) == ("failed", "unreachable")
    assert second.status == "accepted"


async def test_a_message_that_came_too_late_is_expired_at_once(messaging: Messaging) -> None:
    anna = await messaging.customer()

    await messaging.hears(asked(anna, expires_at=datetime.now(UTC) - timedelta(seconds=1)))

    message = await messaging.message(anna.customer_id)
    assert (message.status, message.reason) == ("expired", "expired")
    assert await messaging.said_of(anna.customer_id) == ["MessageFailed"]


async def test_a_topic_that_is_read_from_its_beginning_tells_nobody_of_last_month(messaging: Messaging) -> None:
    anna = await messaging.customer()

    await messaging.hears(accrued(anna), time=datetime.now(UTC) - timedelta(days=30))

    assert (await messaging.message(anna.customer_id)).status == "expired"


async def test_the_messages_of_a_customer_keep_the_order_in_which_they_were_asked_for(messaging: Messaging) -> None:
    anna = await messaging.customer(language="en")

    await messaging.hears(*(accrued(anna, points) for points in range(1, 30)))

    told = [message.text.split(" ")[0] for message in await messaging.messages(anna.customer_id)]
    assert told == [f"+{points}" for points in range(1, 30)]


async def test_an_erased_customer_is_forgotten_with_all_texts(messaging: Messaging) -> None:
    anna = await messaging.customer()
    await messaging.hears(accrued(anna), asked(anna, buttons=[[{"label": "0", "data": "nps:0"}]]))

    await messaging.hears(erased(anna))

    (kept,) = await messaging.rows("SELECT * FROM contacts")
    assert (kept.telegram_chat_id, kept.consents, kept.customer_id) == (None, [], anna.customer_id)
    assert kept.erased_at is not None
    messages = await messaging.messages(anna.customer_id)
    assert [(each.text, each.buttons, each.status, each.reason) for each in messages] == [
        (None, [], "failed", "erased")
    ] * 2
    assert (await messaging.said_of(anna.customer_id))[2:] == ["MessageFailed", "MessageFailed"]


async def test_what_an_erased_customer_is_told_later_has_no_text(messaging: Messaging) -> None:
    anna = await messaging.customer()
    await messaging.hears(erased(anna))

    await messaging.hears(accrued(anna))

    message = await messaging.message(anna.customer_id)
    assert (message.status, message.reason, message.text) == ("failed", "erased", None)


async def test_a_contact_put_back_late_brings_back_neither_a_consent_nor_an_erased_customer(
    messaging: Messaging,
) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    withdrawn, gone = await messaging.customer(advertising=False), await messaging.customer(advertising=True)
    await messaging.hears(erased(gone))

    agreed = contact(withdrawn.customer_id, advertising=True)
    await messaging.hears(agreed, gone, time=long_ago)
    await messaging.hears(asked(withdrawn, purpose="advertising"), asked(gone))

    assert (await messaging.message(withdrawn.customer_id)).reason == "no_consent"
    assert (await messaging.message(gone.customer_id)).reason == "erased"


async def test_the_newest_contact_of_a_batch_counts_though_its_clock_is_a_little_behind(messaging: Messaging) -> None:
    customer_id, now = new_id(), datetime.now(UTC)
    first, second = contact(customer_id, language="en"), contact(customer_id, language="ru")

    await messaging.delivery.deliver([came(first, now), came(second, now - timedelta(seconds=2))])
    await messaging.hears(accrued(customer_id))

    assert (await messaging.message(customer_id)).language == "ru"


async def test_no_phone_and_no_name_is_kept(messaging: Messaging) -> None:
    await messaging.customer()

    (row,) = await messaging.rows("SELECT to_jsonb(contacts)::text AS kept FROM contacts")

    assert "Анна" not in row.kept
    assert "7916" not in row.kept
