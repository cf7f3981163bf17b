import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from chassis.database import utc_now
from chassis.ids import new_id
from contracts.customers import ConsentWithdrawn, Contact, CustomerChanged, CustomerRegistered, LinkTelegram
from tests.services.customers.test_consents import history as consents
from tests.services.customers.world import (
    EVERY_CUSTOMER,
    PHONE,
    Customers,
    OpenCustomers,
    at_once,
    came,
    link,
    merge,
    minutes_ago,
    phones,
    two_records,
    undo,
    unlink,
    uuid_of,
    went_bad,
)


async def test_a_shared_contact_links_the_chat_to_the_customer_with_the_phone(customers: Customers) -> None:
    customer = await customers.register(first_name="Анна")

    await customers.hear(link(PHONE, 100500, first_name="🔥Нюша🔥", language="en"))

    assert await customers.get(customer) == customer | {"telegram_chat_id": 100500}
    assert (await customers.contact(customer)).telegram_chat_id == 100500
    (changed,) = await customers.said(CustomerChanged, customer)
    assert changed.changed == ["telegram_chat_id"]


async def test_a_shared_contact_registers_who_is_new(customers: Customers) -> None:
    await customers.hear(link(PHONE, 100500, first_name=" Анна\n", language="en"))

    (event,) = await customers.said(CustomerRegistered)
    (contact,) = await customers.said(Contact)
    assert event.source == "bot"
    assert (contact.phone, contact.first_name, contact.telegram_chat_id, contact.language) == (
        PHONE,
        "Анна",
        100500,
        "en",
    )
    assert await customers.found(phone=PHONE) == [str(event.customer_id)]


async def test_a_phone_that_telegram_vouches_for_is_taken_as_it_is(customers: Customers) -> None:
    await customers.hear(link("+88801234567", 100500))

    assert len(await customers.found(phone="+88801234567")) == 1


async def test_a_chat_linked_elsewhere_leaves_the_former_customer(customers: Customers) -> None:
    former, customer = await customers.register("+79160000001"), await customers.register()

    await customers.hear(link("+79160000001", 100500))
    await customers.hear(link(PHONE, 100500))

    assert (await customers.contact(former)).telegram_chat_id is None
    assert (await customers.contact(customer)).telegram_chat_id == 100500
    assert (await customers.get(former))["telegram_chat_id"] is None


async def test_a_chat_that_moves_within_one_batch_ends_with_the_last(customers: Customers) -> None:
    await customers.hear(*(link(phone, 100500, at=minutes_ago(9 - each)) for each, phone in enumerate(phones(4))))

    held = await customers.rows("SELECT phone, telegram_chat_id FROM customers ORDER BY phone")
    assert [each["telegram_chat_id"] for each in held] == [None, None, None, 100500]


async def test_a_customer_with_another_chat_gives_up_the_first(customers: Customers) -> None:
    customer = await customers.register()

    await customers.hear(link(PHONE, 1))
    await customers.hear(link(PHONE, 2))

    assert (await customers.contact(customer)).telegram_chat_id == 2


async def test_a_replayed_link_changes_nothing(customers: Customers) -> None:
    yesterday = utc_now() - timedelta(days=1)
    command = LinkTelegram(phone=PHONE, telegram_chat_id=100500, first_name="Анна")
    await customers.hear(came(command, at=yesterday))
    said = await customers.everything_said()

    await customers.hear(came(command, at=yesterday))

    assert await customers.everything_said() == said


async def test_a_replayed_link_does_not_take_the_chat_back(customers: Customers) -> None:
    first = link("+79160000001", 100500, at=minutes_ago(10))
    await customers.hear(first)
    await customers.hear(link(PHONE, 100500, at=minutes_ago(5)))
    said = await customers.everything_said()

    await customers.hear(came(first.record, at=first.time))

    assert await customers.everything_said() == said


async def test_a_chat_that_is_shared_again_is_answered_with_the_contact(customers: Customers) -> None:
    customer = await linked(customers)

    await customers.hear(link(PHONE, 100500))

    first, second, third = await customers.said(Contact, customer)
    assert first.telegram_chat_id is None
    assert second == third
    assert len(await customers.said(CustomerChanged, customer)) == 1


async def test_a_chat_that_is_given_up_leaves_the_customer(customers: Customers) -> None:
    customer = await linked(customers)
    await customers.hear(went_bad(uuid_of(customer), since=minutes_ago(5)))

    await customers.hear(unlink(customer, 100500))

    contact = await customers.contact(customer)
    assert (contact.telegram_chat_id, contact.unreachable) == (None, [])
    assert await customers.get(customer) == customer


async def test_who_gives_up_the_chat_withdraws_the_consent_to_advertising_there_and_no_other(
    customers: Customers,
) -> None:
    customer = await customers.register(consents=["telegram", "sms"])
    await customers.hear(link(PHONE, 100500))
    before = len(await customers.said(Contact, customer))
    command = unlink(customer, 100500)

    await customers.hear(command)

    (contact,) = (await customers.said(Contact, customer))[before:]
    assert (contact.telegram_chat_id, [each.channel for each in contact.consents]) == (None, ["sms"])
    (said,) = await customers.said(ConsentWithdrawn, customer)
    assert (said.channel, said.withdrawn_at, said.source) == ("telegram", command.time, "bot")
    (newest, *_) = await consents(customers, customer)
    assert (newest["channel"], newest["given"], newest["who"]) == ("telegram", False, "bot")
    assert datetime.fromisoformat(newest["at"]) == command.time
    trail = (await customers.http.get(f"/customers/{customer['id']}/audit")).json()["items"]
    assert ("consent_withdrawn", ["telegram"], "bot") in [(each["action"], each["what"], each["who"]) for each in trail]


async def test_linking_again_brings_no_consent_back(customers: Customers) -> None:
    customer = await customers.register(consents=["telegram"])
    await customers.hear(link(PHONE, 100500))
    await customers.hear(unlink(customer, 100500))

    await customers.hear(link(PHONE, 100500))

    contact = await customers.contact(customer)
    assert (contact.telegram_chat_id, contact.consents) == (100500, [])


@pytest.mark.parametrize("order", [1, -1])
async def test_a_stop_withdraws_the_consent_though_a_later_link_is_heard_before_it(
    customers: Customers, order: int
) -> None:
    customer = await customers.register(consents=["telegram"])
    await customers.hear(link(PHONE, 100500))
    later = utc_now() + timedelta(minutes=1)
    words = [unlink(customer, 100500), link(PHONE, 2, at=later)]

    for word in words[::order]:
        await customers.hear(word)

    contact = await customers.contact(customer)
    assert (contact.telegram_chat_id, contact.consents) == (2, [])


async def test_a_stop_from_before_a_consent_was_given_does_not_withdraw_it(customers: Customers) -> None:
    customer = await customers.register(consents=["telegram"])

    await customers.hear(unlink(customer, 100500, at=minutes_ago(1)))

    assert [each.channel for each in (await customers.contact(customer)).consents] == ["telegram"]
    assert await customers.said(ConsentWithdrawn) == []


async def test_a_stop_that_is_said_twice_at_once_withdraws_once(customers: Customers) -> None:
    customer = await customers.register(consents=["telegram"])
    await customers.hear(link(PHONE, 100500))

    await customers.hear(unlink(customer, 100500), unlink(customer, 100500))

    assert len(await customers.said(ConsentWithdrawn)) == 1


@pytest.mark.parametrize("named", [0, 1])
async def test_a_stop_is_for_the_whole_person_whichever_record_is_named(customers: Customers, named: int) -> None:
    records = await two_records(customers)
    anna, other = records
    for each in records:
        await customers.http.put(f"/customers/{each['id']}/consents/telegram")
    await merge(customers, anna, other)

    await customers.hear(unlink(records[named], 100500))
    await undo(customers, anna, other)

    assert {each.customer_id for each in await customers.said(ConsentWithdrawn)} == {uuid_of(each) for each in records}
    assert [(await customers.contact(each)).consents for each in records] == [[], []]


async def test_giving_up_a_former_chat_changes_nothing(customers: Customers) -> None:
    customer = await linked(customers)
    await customers.hear(link(PHONE, 2, at=minutes_ago(5)))
    said = await customers.everything_said()

    await customers.hear(unlink(customer, 100500))

    assert await customers.everything_said() == said


async def test_giving_up_a_chat_that_nobody_has_says_nothing(customers: Customers) -> None:
    customer = await customers.register()
    said = await customers.everything_said()

    await customers.hear(unlink(customer, 100500))

    assert await customers.everything_said() == said


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_the_later_of_link_and_unlink_counts_whichever_is_heard_first(
    customers: Customers, order: tuple[int, int]
) -> None:
    customer = await customers.register()
    words = [link(PHONE, 100500, at=minutes_ago(5)), unlink(customer, 100500, at=minutes_ago(4))]

    for place in order:
        await customers.hear(words[place])
    assert (await customers.contact(customer)).telegram_chat_id is None

    words = [unlink(customer, 100500, at=minutes_ago(3)), link(PHONE, 100500, at=minutes_ago(2))]
    for place in order:
        await customers.hear(words[place])
    assert (await customers.contact(customer)).telegram_chat_id == 100500


async def test_however_chats_move_replaying_it_all_changes_nothing(customers: Customers) -> None:
    dice = random.Random(7)
    people = [await customers.register(phone) for phone in phones(4)]
    commands = [
        link(person["phone"], dice.choice([1, 2, 3]), at=minutes_ago(100 - each))
        if dice.random() < 0.8
        else unlink(person, dice.choice([1, 2, 3]), at=minutes_ago(100 - each))
        for each in range(80)
        for person in [dice.choice(people)]
    ]
    for start in range(0, len(commands), 7):
        await customers.hear(*commands[start : start + 7])
    held = [each["telegram_chat_id"] for each in await customers.rows("SELECT telegram_chat_id FROM customers")]
    taken = [chat for chat in held if chat is not None]
    assert len(taken) == len(set(taken))
    said = await customers.everything_said()

    dice.shuffle(commands)
    await customers.hear(*(came(command.record, at=command.time) for command in commands))

    assert await customers.everything_said() == said


async def test_a_chat_wanted_by_two_at_the_same_moment_ends_with_one(open_customers: OpenCustomers) -> None:
    bots = [open_customers(), open_customers()]

    await at_once(
        [bot.hear(link(phone, 100500)) for bot, phone in zip(bots, phones(2), strict=True)],
        bots[0],
        EVERY_CUSTOMER,
    )

    rows = await bots[0].rows("SELECT telegram_chat_id FROM customers WHERE telegram_chat_id IS NOT NULL")
    assert len(rows) == 1
    assert await bots[0].rows("SELECT id FROM dead_letters") == []


async def test_a_dead_channel_is_named_in_the_contact_and_the_chat_is_kept(customers: Customers) -> None:
    customer = await linked(customers)

    await customers.hear(went_bad(uuid_of(customer)))

    contact = await customers.contact(customer)
    assert (contact.unreachable, contact.telegram_chat_id) == (["telegram"], 100500)
    assert (await customers.get(customer))["unreachable"] == ["telegram"]


async def test_a_channel_that_is_dead_already_is_told_once(customers: Customers) -> None:
    customer = await linked(customers)
    await customers.hear(went_bad(uuid_of(customer)))
    said = await customers.everything_said()

    await customers.hear(went_bad(uuid_of(customer)), went_bad(uuid_of(customer)))

    assert await customers.everything_said() == said


async def test_sharing_the_contact_again_makes_the_channel_good(customers: Customers) -> None:
    customer = await linked(customers)
    await customers.hear(went_bad(uuid_of(customer), since=minutes_ago(5)))

    await customers.hear(link(PHONE, 100500))

    assert (await customers.contact(customer)).unreachable == []


async def test_a_link_from_before_does_not_make_the_channel_good(customers: Customers) -> None:
    customer = await linked(customers)
    await customers.hear(went_bad(uuid_of(customer), since=minutes_ago(5)))

    await customers.hear(link(PHONE, 100500, at=minutes_ago(6)))

    assert (await customers.contact(customer)).unreachable == ["telegram"]


async def test_old_news_of_a_chat_that_was_replaced_changes_nothing(customers: Customers) -> None:
    customer = await linked(customers)
    await customers.hear(link(PHONE, 2, at=minutes_ago(2)))
    said = await customers.everything_said()

    await customers.hear(went_bad(uuid_of(customer), since=minutes_ago(3)))

    assert await customers.everything_said() == said


async def test_another_phone_makes_sms_good_and_another_address_e_mail(customers: Customers) -> None:
    customer = await customers.register(email="anna@example.org")
    await customers.hear(went_bad(uuid_of(customer), "sms"), went_bad(uuid_of(customer), "email"))
    assert (await customers.contact(customer)).unreachable == ["email", "sms"]

    await customers.http.patch(f"/customers/{customer['id']}", json={"phone": "+79160000001"})
    assert (await customers.contact(customer)).unreachable == ["email"]
    await customers.http.patch(f"/customers/{customer['id']}", json={"email": "anna@example.com"})
    assert (await customers.contact(customer)).unreachable == []


async def test_a_customer_whom_nobody_knows_is_a_dead_letter_and_costs_the_neighbours_nothing(
    customers: Customers,
) -> None:
    customer = await linked(customers)

    await customers.hear(went_bad(new_id()), went_bad(uuid_of(customer)))

    (letter,) = await customers.rows("SELECT reason FROM dead_letters")
    assert letter["reason"] == "unknown_customer"
    assert (await customers.contact(customer)).unreachable == ["telegram"]


async def linked(customers: Customers) -> dict[str, Any]:
    customer = await customers.register()
    await customers.hear(link(PHONE, 100500, at=minutes_ago(10)))
    return customer
