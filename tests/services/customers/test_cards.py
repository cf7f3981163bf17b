from itertools import pairwise
from uuid import uuid4

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from contracts.customers import Card
from contracts.fields import ean13_check_digit
from services.customers.cards import CARDS_MAX, own_number
from tests.services.customers.world import (
    EVERY_CUSTOMER,
    PHONE,
    Customers,
    OpenCustomers,
    at_once,
    fields_at_fault,
    phones,
    row_of,
)


@given(st.integers(1, 9_999_999_999), st.integers(1, 9_999_999_999))
def test_own_numbers_are_valid_and_differ_as_their_serials_do(one: int, other: int) -> None:
    number = own_number(one)

    assert len(number) == 13
    assert number.startswith("29")
    assert number[12] == ean13_check_digit(number[:12])
    assert (number == own_number(other)) == (one == other)


async def test_cards_are_issued_one_after_another(customers: Customers) -> None:
    issued = [(await customers.register(phone, issue_card=True))["cards"][0]["number"] for phone in phones(5)]

    assert all(one < other for one, other in pairwise(issued))


async def test_numbers_that_were_printed_before_are_not_issued_again(customers: Customers) -> None:
    printed = [own_number(serial) for serial in range(1, 30)]
    async with customers.database.engine.begin() as connection:
        await connection.execute(
            sa.text("INSERT INTO cards SELECT unnest(CAST(:numbers AS text[])), gen_random_uuid(), 'active', now()"),
            {"numbers": printed},
        )

    (card,) = (await customers.register(issue_card=True))["cards"]

    assert card["number"] not in printed


async def test_cards_issued_at_the_same_moment_differ(open_customers: OpenCustomers) -> None:
    tills = [open_customers(), open_customers()]
    calls = [
        tills[each % 2].post("/customers", {"phone": phone, "issue_card": True}) for each, phone in enumerate(phones(8))
    ]

    answers = await at_once(calls, tills[0], EVERY_CUSTOMER)

    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.json()["cards"][0]["number"] for answer in answers}) == 8


async def test_a_customer_gets_one_more_card(customers: Customers) -> None:
    customer = await customers.register(card_number="7001234")

    given = await customers.post(f"/customers/{customer['id']}/cards", {"card_number": "7005678"})
    issued = await customers.post(f"/customers/{customer['id']}/cards", {"issue_card": True})

    assert (given.status_code, given.json()) == (201, {"number": "7005678", "state": "active", "replaced_by": None})
    assert issued.status_code == 201
    numbers = [card["number"] for card in (await customers.get(customer))["cards"]]
    assert numbers == ["7001234", "7005678", issued.json()["number"]]
    assert [card.card_number for card in await customers.said(Card, customer)] == numbers


async def test_a_card_that_the_customer_has_already_is_given_once(customers: Customers) -> None:
    customer = await customers.register(card_number="7001234")

    again = await customers.post(f"/customers/{customer['id']}/cards", {"card_number": "7001234"})

    assert (again.status_code, again.json()) == (200, {"number": "7001234", "state": "active", "replaced_by": None})
    assert len(await customers.said(Card)) == 1


async def test_a_card_never_changes_hands(customers: Customers) -> None:
    holder = await customers.register("+79160000001", card_number="7001234")
    other = await customers.register()

    refused = await customers.post(f"/customers/{other['id']}/cards", {"card_number": "7001234"})

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "card_number")
    assert await customers.found(card="7001234") == [holder["id"]]


async def test_it_must_be_said_which_card(customers: Customers) -> None:
    customer = await customers.register()

    assert fields_at_fault(await customers.post(f"/customers/{customer['id']}/cards", {})) == ["body"]


async def test_a_customer_gets_no_more_cards_than_a_person_can_want(customers: Customers) -> None:
    customer = await customers.register()
    for _ in range(CARDS_MAX):
        await customers.post(f"/customers/{customer['id']}/cards", {"issue_card": True})

    refused = await customers.post(f"/customers/{customer['id']}/cards", {"issue_card": True})

    assert (refused.status_code, refused.json()["type"]) == (409, "urn:kopilka:problem:too_many_cards")
    assert len((await customers.get(customer))["cards"]) == CARDS_MAX


async def test_blocking_and_unblocking_are_said_once_each(customers: Customers) -> None:
    customer = await customers.register(card_number="7001234")
    card = f"/customers/{customer['id']}/cards/7001234"

    for action in ("block", "block", "unblock", "unblock"):
        answer = await customers.post(f"{card}/{action}")
        assert answer.json()["state"] == {"block": "blocked", "unblock": "active"}[action]

    assert [each.state for each in await customers.said(Card, customer)] == ["active", "blocked", "active"]


async def test_who_has_only_a_blocked_card_is_issued_another_at_the_till(customers: Customers) -> None:
    customer = await customers.register(card_number="7001234")
    await customers.post(f"/customers/{customer['id']}/cards/7001234/block")

    again = await customers.post("/customers", {"phone": PHONE, "issue_card": True})

    assert [card["state"] for card in again.json()["cards"]] == ["blocked", "active"]


async def test_only_a_card_of_the_customer_can_be_blocked(customers: Customers) -> None:
    await customers.register("+79160000001", card_number="7001234")
    other = await customers.register()

    assert (await customers.post(f"/customers/{other['id']}/cards/7001234/block")).status_code == 404
    assert (await customers.post(f"/customers/{uuid4()}/cards/7001234/block")).status_code == 404


async def test_a_card_given_and_blocked_at_the_same_moment_ends_as_it_was_said_last(
    open_customers: OpenCustomers,
) -> None:
    tills = [open_customers(), open_customers()]
    customer = await tills[0].register(card_number="7001234")
    card = f"/customers/{customer['id']}/cards/7001234"

    calls = [tills[each % 2].post(f"{card}/{action}") for each, action in enumerate(["block", "unblock"] * 4)]
    await at_once(calls, tills[0], row_of(customer))

    states = [each.state for each in await tills[0].said(Card, customer)]
    assert states[-1] == (await tills[0].get(customer))["cards"][0]["state"]
    assert all(one != other for one, other in pairwise(states))


async def test_another_card_takes_the_place_of_a_lost_one_which_stays_blocked(customers: Customers) -> None:
    customer = await customers.register(card_number="7001234")
    card = f"/customers/{customer['id']}/cards/7001234"

    new = await customers.post(f"{card}/replace", {"issue_card": True})

    assert (new.status_code, new.json()["state"]) == (201, "active")
    old, successor = (await customers.get(customer))["cards"]
    assert old == {"number": "7001234", "state": "blocked", "replaced_by": new.json()["number"]}
    assert successor == new.json()
    said = [(each.card_number, each.state, each.replaced_by) for each in await customers.said(Card, customer)]
    assert said[1:] == [(successor["number"], "active", None), ("7001234", "blocked", successor["number"])]
    for again in (f"{card}/unblock", f"{card}/replace"):
        refused = await customers.post(again, {"issue_card": True} if again.endswith("replace") else None)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:kopilka:problem:card_replaced")
        assert successor["number"] in refused.json()["detail"]
    assert (await customers.post(f"{card}/block")).json() == old


async def test_a_card_that_the_customer_has_may_take_the_place_if_it_is_not_blocked(customers: Customers) -> None:
    customer = await customers.register(card_number="7001234")
    cards = f"/customers/{customer['id']}/cards"
    for number in ("7005678", "7009999"):
        await customers.post(cards, {"card_number": number})
    await customers.post(f"{cards}/7009999/block")

    for number, status in (("7001234", 422), ("7009999", 409), ("7005678", 201)):
        answer = await customers.post(f"{cards}/7001234/replace", {"card_number": number})
        assert answer.status_code == status, number
    assert [card["replaced_by"] for card in (await customers.get(customer))["cards"]] == ["7005678", None, None]


async def test_a_card_of_somebody_else_takes_no_place(customers: Customers) -> None:
    await customers.register("+79160000001", card_number="7005678")
    customer = await customers.register(card_number="7001234")

    refused = await customers.post(f"/customers/{customer['id']}/cards/7001234/replace", {"card_number": "7005678"})

    assert (refused.status_code, refused.json()["type"]) == (409, "urn:kopilka:problem:card_taken")
    assert (await customers.get(customer))["cards"][0]["state"] == "active"
