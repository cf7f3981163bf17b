from uuid import UUID

import pytest

from contracts.customers import Card, Contact, ContactErased, CustomerErased
from tests.services.customers.test_erasure import CHAT, PERSON, TRACES, everything_kept, person
from tests.services.customers.world import (
    PHONE,
    SHOP,
    WEB,
    Customers,
    OpenCustomers,
    at_once,
    came,
    link,
    merge,
    minutes_ago,
    row_of,
    two_records,
    undo,
    unlink,
    uuid_of,
    went_bad,
)


async def test_a_chat_that_the_survivor_lacks_comes_along_and_goes_back(customers: Customers) -> None:
    anna, other = await two_records(customers)
    await customers.hear(link(WEB, 100500))

    await merge(customers, anna, other)
    assert (await customers.contact(anna)).telegram_chat_id == 100500

    await undo(customers, anna, other)
    assert (await customers.contact(anna)).telegram_chat_id is None
    assert (await customers.contact(other)).telegram_chat_id == 100500
    assert (await customers.get(other))["telegram_chat_id"] == 100500


async def test_a_chat_shared_by_the_phone_of_a_merged_record_is_linked_to_the_survivor(customers: Customers) -> None:
    anna, other = await two_records(customers)
    await merge(customers, anna, other)
    before = len(await customers.said(Contact, other))

    await customers.hear(link(WEB, 100500))

    assert (await customers.contact(anna)).telegram_chat_id == 100500
    assert len(await customers.said(Contact, other)) == before
    assert (await undo(customers, anna, other)).json()["telegram_chat_id"] == 100500


async def test_the_own_chat_of_a_merged_record_shared_again_is_the_survivors_until_they_are_parted(
    customers: Customers,
) -> None:
    anna, other = await two_records(customers)
    await customers.hear(link(SHOP, 1, at=minutes_ago(9)), link(WEB, 2, at=minutes_ago(8)))
    await merge(customers, anna, other)
    assert (await customers.contact(anna)).telegram_chat_id == 1

    await customers.hear(link(WEB, 2))
    assert (await customers.contact(anna)).telegram_chat_id == 2

    await undo(customers, anna, other)
    assert [(await customers.get(each))["telegram_chat_id"] for each in (anna, other)] == [None, 2]


async def test_a_chat_that_somebody_else_shared_since_does_not_come_back(customers: Customers) -> None:
    anna, other = await two_records(customers)
    third = await customers.register(PHONE)
    await customers.hear(link(SHOP, 1), link(WEB, 2))
    await merge(customers, anna, other)
    before = len(await customers.said(Contact, other))

    await customers.hear(link(PHONE, 2))

    assert (await customers.get(third))["telegram_chat_id"] == 2
    assert len(await customers.said(Contact, other)) == before
    await undo(customers, anna, other)
    assert [(await customers.get(each))["telegram_chat_id"] for each in (anna, other, third)] == [1, None, 2]


@pytest.mark.parametrize("named", [0, 1])
async def test_a_chat_that_is_given_up_is_nobodys_whichever_record_is_named(customers: Customers, named: int) -> None:
    records = await two_records(customers)
    await customers.hear(link(WEB, 100500, at=minutes_ago(5)))
    await merge(customers, *records)

    await customers.hear(unlink(records[named], 100500))

    assert (await customers.contact(records[0])).telegram_chat_id is None
    await undo(customers, *records)
    assert [(await customers.get(each))["telegram_chat_id"] for each in records] == [None, None]


async def test_a_chat_that_the_survivor_did_not_take_is_given_up_for_good(customers: Customers) -> None:
    anna, other = await two_records(customers)
    await customers.hear(link(SHOP, 1, at=minutes_ago(5)), link(WEB, 2, at=minutes_ago(5)))
    await merge(customers, anna, other)

    await customers.hear(unlink(other, 2))

    await undo(customers, anna, other)
    assert [(await customers.get(each))["telegram_chat_id"] for each in (anna, other)] == [1, None]


async def test_replaying_what_the_bot_said_before_and_during_a_merge_changes_nothing(customers: Customers) -> None:
    anna, other = await two_records(customers)
    heard = [link(WEB, 3, at=minutes_ago(12)), link(SHOP, 1, at=minutes_ago(11)), link(WEB, 2, at=minutes_ago(10))]
    await customers.hear(*heard)
    await merge(customers, anna, other)
    during = [link(WEB, 3, at=minutes_ago(4)), unlink(anna, 3, at=minutes_ago(3))]
    await customers.hear(*during)
    for replayed in (heard, during):
        said = await customers.everything_said()
        await customers.hear(*(came(each.record, at=each.time) for each in replayed))
        assert await customers.everything_said() == said
    await undo(customers, anna, other)
    said = await customers.everything_said()

    await customers.hear(*(came(each.record, at=each.time) for each in (*heard, *during)))

    assert await customers.everything_said() == said


async def test_a_dead_channel_goes_with_its_address_there_and_back(customers: Customers) -> None:
    anna, other = await two_records(customers)
    await customers.hear(link(WEB, 100500, at=minutes_ago(5)))
    await customers.hear(went_bad(uuid_of(other)), went_bad(uuid_of(other), "sms"))

    await merge(customers, anna, other)
    assert (await customers.contact(anna)).unreachable == ["telegram"]

    await customers.hear(went_bad(uuid_of(anna), "email"), went_bad(uuid_of(other), "email"))
    assert (await customers.contact(anna)).unreachable == ["email", "telegram"]
    before, resting = (await customers.said(Contact, other))[-2:]
    assert (before.unreachable, resting.unreachable) == (["sms", "telegram"], [])

    await undo(customers, anna, other)
    assert (await customers.contact(anna)).unreachable == []
    assert (await customers.contact(other)).unreachable == ["email", "sms", "telegram"]


async def test_a_chat_shared_while_its_record_is_merged_ends_at_the_survivor(open_customers: OpenCustomers) -> None:
    console, bot = open_customers(), open_customers()
    anna, other = await two_records(console)

    await at_once(
        [merge(console, anna, other), bot.hear(link(WEB, 100500)), bot.hear(unlink(other, 7, at=minutes_ago(5)))],
        console,
        row_of(other),
    )

    assert (await console.contact(anna)).telegram_chat_id == 100500
    assert (await console.get(other))["telegram_chat_id"] is None
    assert await console.rows("SELECT id FROM dead_letters") == []


@pytest.mark.parametrize("survivor", [0, 1])
async def test_an_erasure_of_the_survivor_leaves_no_trace_of_the_merged_record(
    customers: Customers, survivor: int
) -> None:
    records = [await person(customers), await customers.register(WEB, card_number="7009999", consents=["sms"])]
    customer, merged = records[survivor], records[1 - survivor]
    await merge(customers, customer, merged)
    assert all([trace in await everything_kept(customers) for trace in (*TRACES, WEB)])

    answer = await customers.http.delete(f"/customers/{customer['id']}", headers={"Kopilka-Actor": "operator:olga"})

    assert answer.status_code == 204
    kept = await everything_kept(customers)
    assert [trace for trace in (*TRACES, WEB.removeprefix("+")) if trace in kept] == []
    assert sorted(str(erased.customer_id) for erased in await customers.said(CustomerErased)) == sorted(
        [customer["id"], merged["id"]]
    )
    erased = {erased.customer_id for erased in await customers.said(ContactErased)}
    assert erased == {UUID(customer["id"]), UUID(merged["id"])}
    assert {card.card_number: card.state for card in await customers.said(Card)} == {
        "7001234": "blocked",
        "7009999": "blocked",
    }
    for each in records:
        assert (await customers.http.get(f"/customers/{each['id']}")).status_code == 410
        trail = (await customers.http.get(f"/customers/{each['id']}/audit")).json()["items"]
        assert (trail[0]["action"], trail[0]["who"]) == ("erased", "operator:olga")
    assert (await undo(customers, customer, merged)).status_code == 410
    assert await customers.found(phone=WEB) == await customers.found(phone=PHONE) == await customers.found() == []
    assert (await customers.http.delete(f"/customers/{merged['id']}")).status_code == 204


async def test_what_comes_late_about_an_erased_merged_record_changes_nothing(customers: Customers) -> None:
    anna, other = await two_records(customers)
    await customers.hear(link(WEB, CHAT, at=minutes_ago(5)))
    await merge(customers, anna, other)
    await customers.http.delete(f"/customers/{anna['id']}")
    said = await customers.everything_said()

    await customers.hear(went_bad(uuid_of(other)), went_bad(uuid_of(anna)), unlink(other, CHAT), unlink(anna, CHAT))

    assert await customers.everything_said() == said
    anew = await customers.register(WEB, **{"first_name": PERSON["first_name"]})
    assert anew["id"] not in (anna["id"], other["id"])


async def test_an_erasure_and_a_merge_at_the_same_moment_leave_no_half_of_the_person(
    open_customers: OpenCustomers,
) -> None:
    consoles = [open_customers(), open_customers()]
    anna, other = await two_records(consoles[0])

    merging, erasing = await at_once(
        [merge(consoles[0], anna, other), consoles[1].http.delete(f"/customers/{anna['id']}")],
        consoles[0],
        row_of(anna),
    )

    assert erasing.status_code == 204
    others = (await consoles[0].http.get(f"/customers/{other['id']}")).status_code
    assert (merging.status_code, others) in ((201, 410), (410, 200))
