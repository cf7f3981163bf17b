import asyncio
from collections.abc import Sequence
from uuid import uuid4

import httpx
import pytest

from contracts.customers import (
    Card,
    ConsentWithdrawn,
    Contact,
    ContactErased,
    CustomerBlocked,
    CustomerChanged,
    CustomersMerged,
    CustomersUnmerged,
    CustomerUnblocked,
)
from services.customers.cards import CARDS_MAX
from tests.services.customers.world import (
    SHOP,
    WAITING,
    WEB,
    Customers,
    OpenCustomers,
    Registered,
    at_once,
    merge,
    row_of,
    two_records,
    undo,
    uuid_of,
)


async def test_a_merged_record_is_part_of_the_survivor_and_that_is_said(customers: Customers) -> None:
    anna, other = await two_records(customers)

    answer = await merge(customers, anna, other, **{"Kopilka-Actor": "operator:olga"})

    assert answer.status_code == 201
    (part,) = answer.json()["merged"]
    assert (part["customer_id"], answer.json()["merged_into"]) == (other["id"], None)
    shown = await customers.get(other)
    assert shown["merged_into"] == {"customer_id": anna["id"], "since": part["since"]}
    (said,) = await customers.said(CustomersMerged)
    assert (said.key, said.merged_id, said.merged_at.isoformat()) == (
        anna["id"],
        uuid_of(other),
        part["since"].replace("Z", "+00:00"),
    )
    assert await customers.said(ContactErased) == []
    (_, resting) = await customers.said(Contact, other)
    assert (resting.first_name, resting.email, resting.telegram_chat_id, resting.consents) == (None, None, None, [])
    assert resting.phone == other["phone"]
    assert await last_of(customers, anna) == ("merged", "operator:olga", [other["id"]])
    assert await last_of(customers, other) == ("merged_into", "operator:olga", [anna["id"]])


async def test_the_cards_of_the_merged_record_are_the_survivors_as_they_are(customers: Customers) -> None:
    anna, other = await two_records(customers)
    await customers.post(f"/customers/{other['id']}/cards/7000002/replace", {"card_number": "7000003"})

    await merge(customers, anna, other)

    assert [card["number"] for card in (await customers.get(anna))["cards"]] == ["7000001", "7000002", "7000003"]
    assert (await customers.get(other))["cards"] == []
    said = [(card.card_number, card.state, card.replaced_by) for card in (await customers.said(Card, anna))[1:]]
    assert said == [("7000002", "blocked", "7000003"), ("7000003", "active", None)]
    refused = await customers.post(f"/customers/{anna['id']}/cards/7000002/unblock")
    assert refused.json()["type"].endswith("card_replaced")


async def test_the_survivor_takes_over_what_they_lack_and_keeps_the_rest(customers: Customers) -> None:
    anna = await customers.register(SHOP, first_name="Анна", time_zone="Asia/Omsk")
    other = await customers.register(
        WEB, first_name="Нюша", last_name="Ёлкина", email="a@example.org", birth_date="1990-04-12", language="en"
    )

    now = (await merge(customers, anna, other)).json()

    expected = {"last_name": "Ёлкина", "email": "a@example.org", "birth_date": "1990-04-12", "merged": now["merged"]}
    assert now == anna | expected
    contact = await customers.contact(anna)
    assert (contact.phone, contact.first_name, contact.email) == (SHOP, "Анна", "a@example.org")
    (changed,) = await customers.said(CustomerChanged, anna)
    assert changed.changed == ["last_name", "birth_date", "email"]


async def test_undoing_a_merge_brings_both_back_as_they_were(customers: Customers) -> None:
    anna, other = await two_records(customers)
    contact = await customers.contact(other)
    await merge(customers, anna, other)

    answer = await undo(customers, anna, other, **{"Kopilka-Actor": "operator:olga"})

    assert (answer.status_code, answer.json()) == (200, anna)
    assert await customers.get(anna) == anna
    assert await customers.get(other) == other
    (said,) = await customers.said(CustomersUnmerged)
    assert (said.key, said.merged_id) == (anna["id"], uuid_of(other))
    assert await customers.contact(other) == contact
    assert (await customers.contact(anna)).email is None
    assert [card.card_number for card in await customers.said(Card, other)] == ["7000002", "7000002"]
    trail = (await customers.http.get(f"/customers/{anna['id']}/audit")).json()["items"]
    assert [(line["action"], line["who"]) for line in trail[:2]] == [
        ("changed", "operator:olga"),
        ("unmerged", "operator:olga"),
    ]
    assert await last_of(customers, other) == ("unmerged_from", "operator:olga", [anna["id"]])


async def test_both_contacts_are_said_anew_even_where_nothing_was_taken_over(customers: Customers) -> None:
    anna, other = await customers.register(SHOP), await customers.register(WEB)
    await merge(customers, anna, other)

    await undo(customers, anna, other)

    assert [contact.phone for contact in await customers.said(Contact, anna)] == [SHOP, SHOP]
    assert [contact.phone for contact in await customers.said(Contact, other)] == [WEB, WEB, WEB]


async def test_what_the_survivor_changed_since_stays_theirs(customers: Customers) -> None:
    anna = await customers.register(SHOP)
    other = await customers.register(WEB, first_name="Анна", email="a@example.org", birth_date="1990-04-12")
    await merge(customers, anna, other)
    await customers.http.patch(f"/customers/{anna['id']}", json={"email": "anna@example.org", "birth_date": None})

    now = (await undo(customers, anna, other)).json()

    assert (now["first_name"], now["email"], now["birth_date"]) == (None, "anna@example.org", None)
    assert await customers.get(other) == other


async def test_a_card_that_replaced_one_goes_where_that_one_goes(customers: Customers) -> None:
    anna, other = await two_records(customers)
    cards = f"/customers/{anna['id']}/cards"
    await customers.post(f"/customers/{other['id']}/cards", {"card_number": "7000009"})
    await merge(customers, anna, other)
    for number, successor in (("7000002", "7000003"), ("7000003", "7000004"), ("7000009", "7000001")):
        assert (await customers.post(f"{cards}/{number}/replace", {"card_number": successor})).status_code == 201
    await customers.post(cards, {"card_number": "7000005"})

    await undo(customers, anna, other)

    assert [card["number"] for card in (await customers.get(anna))["cards"]] == ["7000001", "7000005"]
    assert [(card["number"], card["replaced_by"]) for card in (await customers.get(other))["cards"]] == [
        ("7000002", "7000003"),
        ("7000009", "7000001"),
        ("7000003", "7000004"),
        ("7000004", None),
    ]
    assert (await customers.said(Card, other))[-1].card_number == "7000009"


async def test_consents_are_not_merged_and_wake_when_the_merge_is_undone(customers: Customers) -> None:
    anna = await customers.register(SHOP, consents=["sms"])
    other = await customers.register(WEB, consents=["email", "telegram"], email="a@example.org")

    merged = await merge(customers, anna, other)

    assert merged.json()["consents"] == anna["consents"]
    assert (merged.json()["email"], (await customers.contact(anna)).consents[0].channel) == ("a@example.org", "sms")
    await undo(customers, anna, other)
    assert [consent.channel for consent in (await customers.contact(anna)).consents] == ["sms"]
    assert [consent.channel for consent in (await customers.contact(other)).consents] == ["email", "telegram"]


async def test_whatever_is_looked_for_of_the_merged_record_finds_the_survivor(customers: Customers) -> None:
    anna, other = await two_records(customers)
    await merge(customers, anna, other)

    for asked in ({"phone": WEB}, {"phone": SHOP}, {"card": "7000002"}, {"search": "ёлкина"}, {"search": "79160000"}):
        assert await customers.found(**asked) == [anna["id"]], asked
    everybody = (await customers.http.get("/customers", params={"limit": 1})).json()
    assert ([each["id"] for each in everybody["items"]], everybody["next"]) == ([anna["id"]], None)
    again = await customers.post("/customers", {"phone": WEB, "card_number": "7000007"})
    assert (again.status_code, again.json()["id"], len(again.json()["cards"])) == (200, anna["id"], 3)

    await undo(customers, anna, other)

    assert await customers.found(phone=WEB) == await customers.found(card="7000002") == [other["id"]]
    assert await customers.found(card="7000007") == [anna["id"]]
    assert await customers.found() == [other["id"], anna["id"]]


async def test_a_consent_by_the_id_of_a_merged_record_and_its_erasure_are_refused_naming_the_survivor(
    customers: Customers,
) -> None:
    anna, other = await two_records(customers)
    await merge(customers, anna, other)
    said = await customers.everything_said()
    here = f"/customers/{other['id']}"

    answers = [await customers.http.delete(here), await customers.http.put(f"{here}/consents/sms")]

    assert [refusal(answer) for answer in answers] == [(409, "customer_merged")] * len(answers)
    assert all(anna["id"] in answer.json()["detail"] for answer in answers)
    assert await customers.everything_said() == said
    assert (await customers.http.get(f"{here}/consents")).status_code == 200


async def test_what_else_is_done_by_the_id_of_a_merged_record_is_done_to_the_survivor(customers: Customers) -> None:
    anna, other = await two_records(customers)
    await merge(customers, anna, other)
    before = await customers.get(other)
    here = f"/customers/{other['id']}"

    changed = await customers.http.patch(here, json={"phone": "+79160000003"})
    given = await customers.post(f"{here}/cards", {"card_number": "7000003"})
    lost = await customers.post(f"{here}/cards/7000002/replace", {"card_number": "7000004"})
    found = await customers.post(f"{here}/cards/7000001/block")
    blocked = await customers.post(f"{here}/block", {"reason": "abuse"})

    assert [answer.status_code for answer in (changed, given, lost, found, blocked)] == [200, 201, 201, 200, 200]
    assert [answer.json()["id"] for answer in (changed, blocked)] == [anna["id"]] * 2
    survivor = await customers.get(anna)
    assert (survivor["phone"], survivor["blocked"]["reason"]) == ("+79160000003", "abuse")
    assert {each["number"]: each["state"] for each in survivor["cards"]} == {
        "7000001": "blocked",
        "7000002": "blocked",
        "7000003": "active",
        "7000004": "active",
    }
    assert (await customers.contact(anna)).phone == "+79160000003"
    (said,) = await customers.said(CustomerBlocked)
    assert said.customer_id == uuid_of(anna)
    assert await customers.get(other) == before

    assert (await customers.post(f"{here}/unblock")).json()["blocked"] is None
    assert [each.customer_id for each in await customers.said(CustomerUnblocked)] == [uuid_of(anna)]


@pytest.mark.parametrize("named", [0, 1])
async def test_a_consent_is_withdrawn_for_the_whole_person_whichever_record_is_named(
    customers: Customers, named: int
) -> None:
    anna = await customers.register(SHOP, consents=["sms", "email"])
    other = await customers.register(WEB, consents=["sms"])
    third = await customers.register("+79160000003", consents=["sms"])
    await merge(customers, anna, other)
    await merge(customers, anna, third)

    answer = await customers.http.delete(
        f"/customers/{(anna, other)[named]['id']}/consents/sms", headers={"Kopilka-Actor": "operator:olga"}
    )

    assert answer.status_code == 204
    assert [consent.channel for consent in (await customers.contact(anna)).consents] == ["email"]
    withdrawn = await customers.said(ConsentWithdrawn)
    assert {each.customer_id for each in withdrawn} == {uuid_of(each) for each in (anna, other, third)}
    await undo(customers, anna, other)
    await undo(customers, anna, third)
    for each in (other, third):
        assert (await customers.contact(each)).consents == []
        proof = (await customers.http.get(f"/customers/{each['id']}/consents")).json()["items"]
        assert [(line["given"], line["who"]) for line in proof] == [(False, "operator:olga"), (True, "till")]


async def test_a_consent_that_is_withdrawn_while_the_record_is_merged_is_the_survivors(
    open_customers: OpenCustomers,
) -> None:
    console, till = open_customers(), open_customers()
    anna = await console.register(SHOP, consents=["sms"])
    other = await console.register(WEB)

    async with asyncio.TaskGroup() as group, console.holding_back(row_of(other), 2):
        merging = group.create_task(merge(console, anna, other))
        await until_one_waits(till)
        withdrawing = group.create_task(till.http.delete(f"/customers/{other['id']}/consents/sms"))

    assert (merging.result().status_code, withdrawing.result().status_code) == (201, 204)
    assert (await till.contact(anna)).consents == []


async def test_merging_or_undoing_again_changes_nothing_and_says_nothing(customers: Customers) -> None:
    anna, other = await two_records(customers)
    first = await merge(customers, anna, other)
    said = await customers.everything_said()

    again = await merge(customers, anna, other)

    assert (again.status_code, again.json()) == (200, first.json())
    assert await customers.everything_said() == said

    await undo(customers, anna, other)
    said = await customers.everything_said()
    assert (await undo(customers, anna, other)).json() == anna
    assert await customers.everything_said() == said


async def test_a_record_is_not_merged_with_itself_with_nobody_or_with_one_who_was_erased(customers: Customers) -> None:
    anna, erased = await two_records(customers)
    await customers.http.delete(f"/customers/{erased['id']}")
    nobody = {"id": str(uuid4())}

    for act in (merge, undo):
        assert [
            refusal(await act(customers, *pair))
            for pair in ((anna, anna), (anna, nobody), (nobody, anna), (anna, erased), (erased, anna))
        ] == [
            (422, "same_customer"),
            (404, "customer_not_found"),
            (404, "customer_not_found"),
            (410, "customer_erased"),
            (410, "customer_erased"),
        ]
    assert await customers.said(CustomersMerged) == []


async def test_a_record_is_part_of_one_other_and_no_part_has_parts(customers: Customers) -> None:
    anna, other = await two_records(customers)
    third = await customers.register("+79160000003")
    await merge(customers, anna, other)

    refused = [
        await merge(customers, third, other),
        await merge(customers, other, third),
        await merge(customers, other, anna),
        await merge(customers, third, anna),
        await undo(customers, third, other),
        await undo(customers, other, anna),
    ]

    assert [refusal(answer) for answer in refused] == [
        (409, "customer_merged"),
        (409, "customer_merged"),
        (409, "customer_merged"),
        (409, "has_merged_records"),
        (409, "customer_merged"),
        (409, "customer_merged"),
    ]
    assert len(await customers.said(CustomersMerged)) == 1


async def test_several_records_are_merged_into_one_and_parted_in_any_order(customers: Customers) -> None:
    anna, other = await two_records(customers)
    third = await customers.register("+79160000003", card_number="7000003", email="third@example.org")
    await merge(customers, anna, other)
    await merge(customers, anna, third)

    await undo(customers, anna, other)
    now = await customers.get(anna)
    assert [card["number"] for card in now["cards"]] == ["7000001", "7000003"]
    assert now["email"] is None

    await undo(customers, anna, third)
    assert [await customers.get(each) for each in (anna, other, third)] == [anna, other, third]


async def test_who_is_blocked_is_neither_merged_nor_parted(customers: Customers) -> None:
    anna, other = await two_records(customers)

    for blocked in (anna, other):
        await customers.post(f"/customers/{blocked['id']}/block", {"reason": "abuse"})
        answer = await merge(customers, anna, other)
        assert refusal(answer) == (409, "customer_blocked")
        assert blocked["id"] in answer.json()["detail"]
        await customers.post(f"/customers/{blocked['id']}/unblock")

    await merge(customers, anna, other)
    await customers.post(f"/customers/{anna['id']}/block", {"reason": "abuse"})
    assert refusal(await undo(customers, anna, other)) == (409, "customer_blocked")


async def test_a_merge_that_makes_too_many_cards_is_refused(customers: Customers) -> None:
    anna, other = await two_records(customers)
    for _ in range(CARDS_MAX - 1):
        await customers.post(f"/customers/{anna['id']}/cards", {"issue_card": True})

    assert refusal(await merge(customers, anna, other)) == (409, "too_many_cards")
    assert await customers.get(other) == other


async def test_a_phone_of_the_merged_record_may_become_the_survivors_and_goes_back(customers: Customers) -> None:
    anna, other = await two_records(customers)
    await merge(customers, anna, other)

    changed = await customers.http.patch(f"/customers/{anna['id']}", json={"phone": WEB})

    assert (changed.status_code, changed.json()["phone"]) == (200, WEB)
    assert await customers.found(phone=WEB) == [anna["id"]]
    assert (await undo(customers, anna, other)).json()["phone"] is None
    assert await customers.get(other) == other
    third = await customers.register("+79160000003")
    refused = await customers.http.patch(f"/customers/{third['id']}", json={"phone": WEB})
    assert refusal(refused) == (409, "phone_taken")


async def test_who_lacks_a_phone_takes_it_over_and_gives_it_back(customers: Customers) -> None:
    anna, other = await two_records(customers)
    await merge(customers, anna, other)
    await customers.http.patch(f"/customers/{anna['id']}", json={"phone": WEB})
    bare = (await undo(customers, anna, other)).json()

    assert (await merge(customers, bare, other)).json()["phone"] == WEB
    assert (await customers.contact(anna)).phone == WEB
    assert (await customers.get(other))["phone"] is None

    await undo(customers, bare, other)
    assert [(await customers.get(each))["phone"] for each in (bare, other)] == [None, WEB]


@pytest.mark.parametrize("older_first", [True, False])
async def test_two_who_merge_crosswise_at_the_same_moment_end_with_one_merge(
    open_customers: OpenCustomers, *, older_first: bool
) -> None:
    consoles = [open_customers(), open_customers()]
    anna, other = await two_records(consoles[0])
    one, another = (anna, other) if older_first else (other, anna)

    answers = await at_once(
        [merge(consoles[0], one, another), merge(consoles[1], another, one)], consoles[0], row_of(anna)
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert len(await consoles[0].said(CustomersMerged)) == 1
    (merged,) = await consoles[0].rows("SELECT id, merged_into FROM customers WHERE merged_into IS NOT NULL")
    assert {str(merged["id"]), str(merged["merged_into"])} == {anna["id"], other["id"]}
    assert len(await consoles[0].found()) == 1


async def test_a_chain_made_at_the_same_moment_ends_with_one_level(open_customers: OpenCustomers) -> None:
    consoles = [open_customers(), open_customers()]
    anna, other = await two_records(consoles[0])
    third = await consoles[0].register("+79160000003")

    answers = await at_once(
        [merge(consoles[0], anna, other), merge(consoles[1], other, third)], consoles[0], row_of(other)
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409]
    merged = await consoles[0].rows("SELECT id FROM customers WHERE merged_into IS NOT NULL")
    assert len(merged) == 1


async def test_a_merge_and_its_undoing_at_the_same_moment_end_as_was_said_last(open_customers: OpenCustomers) -> None:
    consoles = [open_customers(), open_customers()]
    anna, other = await two_records(consoles[0])
    await merge(consoles[0], anna, other)

    calls = [(undo if each % 2 else merge)(consoles[each % 2], anna, other) for each in range(8)]
    await at_once(calls, consoles[0], row_of(anna))

    merges, undone = await consoles[0].said(CustomersMerged), await consoles[0].said(CustomersUnmerged)
    is_merged = (await consoles[0].get(other))["merged_into"] is not None
    assert len(merges) - len(undone) == int(is_merged)
    holder = anna if is_merged else other
    assert await consoles[0].found(card="7000002") == [holder["id"]]
    assert str((await consoles[0].said(Card))[-1].customer_id) == holder["id"]


async def test_who_waits_for_a_record_that_is_merged_meanwhile_gets_its_survivor(
    open_customers: OpenCustomers,
) -> None:
    console, till = open_customers(), open_customers()
    anna, other = await two_records(console)

    async with asyncio.TaskGroup() as group, console.holding_back(row_of(other), 2):
        merging = group.create_task(merge(console, anna, other))
        await until_one_waits(till)
        registering = group.create_task(till.post("/customers", {"phone": WEB, "card_number": "7000007"}))

    assert (merging.result().status_code, registering.result().status_code) == (201, 200)
    assert registering.result().json()["id"] == anna["id"]
    assert await till.found(card="7000007") == [anna["id"]]
    assert (await till.said(Card, other)) == (await till.said(Card, other))[:1]


async def last_of(customers: Customers, customer: Registered) -> tuple[str, str, Sequence[str]]:
    """The newest line of the trail that is about a merge."""
    trail = (await customers.http.get(f"/customers/{customer['id']}/audit")).json()["items"]
    line = next(line for line in trail if "merged" in line["action"])
    return line["action"], line["who"], line["what"]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:kopilka:problem:")


async def until_one_waits(customers: Customers) -> None:
    async with asyncio.timeout(30):
        while (await customers.rows(WAITING))[0]["count"] != 1:  # noqa: ASYNC110 (PostgreSQL has no event of it)
            await asyncio.sleep(0.01)
