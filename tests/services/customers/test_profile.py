from itertools import pairwise
from uuid import uuid4

import httpx
from hypothesis import given
from hypothesis import strategies as st

from contracts.customers import Contact, CustomerChanged
from services.customers.profile_fields import NAME_MAX_CHARS, tidy_name
from services.customers.search import fragments
from tests.services.customers.world import (
    EVERY_CUSTOMER,
    PHONE,
    Customers,
    OpenCustomers,
    at_once,
    fields_at_fault,
    row_of,
)


async def change(customers: Customers, customer: dict[str, object], **fields: object) -> httpx.Response:
    return await customers.http.patch(f"/customers/{customer['id']}", json=fields)


@given(st.text(max_size=200))
def test_a_tidy_name_is_one_short_line_and_stays_as_it_is(text: str) -> None:
    tidy = tidy_name(text)

    assert tidy is None or (len(tidy) <= NAME_MAX_CHARS and len(tidy.splitlines()) == 1 and tidy == tidy.strip())
    assert tidy_name(tidy) == (tidy.strip() if tidy else None)


async def test_only_the_fields_that_are_sent_change(customers: Customers) -> None:
    before = await customers.register(first_name="Анна", last_name="Ёлкина", email="anna@example.org")

    answer = await change(customers, before, last_name="Петрова", email=None)

    assert answer.json() == before | {"last_name": "Петрова", "email": None}
    assert await customers.get(before) == answer.json()


async def test_a_change_is_said_without_values_and_the_contact_with_them(customers: Customers) -> None:
    customer = await customers.register(first_name="Анна")

    await change(customers, customer, first_name="Анна", last_name="Ёлкина", language="en")

    (changed,) = await customers.said(CustomerChanged, customer)
    assert changed.changed == ["last_name", "language"]
    assert (await customers.contact(customer)).last_name == "Ёлкина"


async def test_a_change_that_changes_nothing_says_nothing(customers: Customers) -> None:
    customer = await customers.register(first_name="Анна")
    said = await customers.everything_said()

    assert (await change(customers, customer, first_name=" Анна ", phone="+7 916 123 45 67")).json() == customer
    assert (await change(customers, customer)).json() == customer
    assert await customers.everything_said() == said


async def test_a_phone_of_somebody_else_is_refused(customers: Customers) -> None:
    await customers.register("+79160000001")
    customer = await customers.register()

    refused = await change(customers, customer, phone="+79160000001", first_name="Анна")

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "phone")
    assert await customers.get(customer) == customer


async def test_a_phone_that_was_given_up_is_free(customers: Customers) -> None:
    former = await customers.register()
    await change(customers, former, phone="+79160000001")

    customer = await customers.register(PHONE)

    assert customer["id"] != former["id"]


async def test_two_who_want_one_phone_at_the_same_moment_do_not_both_get_it(open_customers: OpenCustomers) -> None:
    tills = [open_customers(), open_customers()]
    wanting = [await tills[0].register(phone) for phone in ("+79160000001", "+79160000002")]

    answers = await at_once(
        [change(till, who, phone=PHONE) for till, who in zip(tills, wanting, strict=True)],
        tills[0],
        EVERY_CUSTOMER,
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_two_who_want_each_others_phones_do_not_wait_for_each_other(open_customers: OpenCustomers) -> None:
    tills = [open_customers(), open_customers()]
    one, other = [await tills[0].register(phone) for phone in ("+79160000001", "+79160000002")]

    answers = await at_once(
        [
            change(tills[0], one, phone="+79160000002"),
            change(tills[1], other, phone="+79160000001"),
        ],
        tills[0],
        EVERY_CUSTOMER,
    )

    assert [answer.status_code for answer in answers] == [409, 409]


async def test_contacts_are_said_in_the_order_of_the_changes(open_customers: OpenCustomers) -> None:
    tills = [open_customers(), open_customers()]
    customer = await tills[0].register()
    here = f"/customers/{customer['id']}"
    consents = [
        tills[each % 2].http.put(f"{here}/consents/{channel}")
        for each, channel in enumerate(["telegram", "sms", "push", "email", "vk"])
    ]
    values = {"first_name": "Анна", "last_name": "Ёлкина", "email": "anna@example.org", "birth_date": "1990-04-12"}
    fields = [tills[each % 2].http.patch(here, json={name: value}) for each, (name, value) in enumerate(values.items())]

    answers = await at_once(consents + fields, tills[0], row_of(customer))

    assert [answer.status_code for answer in answers] == [200] * 9
    contacts = await tills[0].said(Contact, customer)
    assert len(contacts) == 10
    assert all(facts(earlier) < facts(later) for earlier, later in pairwise(contacts))


def facts(contact: Contact) -> set[str]:
    """Names of what the contact says."""
    said = {name for name, value in contact if value is not None}
    return said | {f"consent to {each.channel}" for each in contact.consents}


async def test_what_cannot_be_taken_is_named(customers: Customers) -> None:
    customer = await customers.register()

    assert fields_at_fault(await change(customers, customer, phone=None)) == ["phone"]
    assert fields_at_fault(await change(customers, customer, phone="")) == ["phone"]
    assert fields_at_fault(await change(customers, customer, time_zone="")) == ["time_zone"]
    assert fields_at_fault(await change(customers, customer, language=None)) == ["language"]
    assert fields_at_fault(await change(customers, customer, birth_date="2999-01-01")) == ["birth_date"]
    assert fields_at_fault(await change(customers, customer, id=str(uuid4()))) == ["id"]
    assert await customers.get(customer) == customer


async def test_nobody_is_changed_who_is_not_there(customers: Customers) -> None:
    answer = await change(customers, {"id": str(uuid4())}, first_name="Анна")

    assert (answer.status_code, answer.json()["type"]) == (404, "urn:kopilka:problem:customer_not_found")


async def test_customers_are_looked_up_by_phone_and_card(customers: Customers) -> None:
    one = await customers.register(card_number="7001234")
    other = await customers.register("+79160000001", card_number="7005678")

    for phone in (PHONE, PHONE.removeprefix("+"), "7 (916) 123-45-67"):
        assert await customers.found(phone=phone) == [one["id"]]
    assert await customers.found(card="7005678") == [other["id"]]
    assert await customers.found(phone=PHONE, card="7005678") == []
    assert await customers.found(phone="+79169999999") == []
    assert (await customers.http.get(f"/customers?phone={PHONE}")).json()["items"][0]["id"] == one["id"]


async def test_an_operator_finds_people_by_fragments(customers: Customers) -> None:
    anna = await customers.register(first_name="Алёна", last_name="Ёлкина", email="alyona_100%@example.org")
    ivan = await customers.register("+79160004567", first_name="Иван", last_name="Елкин")

    assert await customers.found(search="елкин") == [ivan["id"], anna["id"]]
    assert await customers.found(search="АЛЕН ёлк") == [anna["id"]]
    assert await customers.found(search="4567") == [ivan["id"], anna["id"]]
    assert await customers.found(search="+7916000") == [ivan["id"]]
    assert await customers.found(search="100%@") == [anna["id"]]
    assert await customers.found(search="a_y") == []
    assert fields_at_fault(await customers.http.get("/customers", params={"search": "е"})) == ["search"]


def test_a_fragment_means_itself() -> None:
    assert fragments("100%  a_b \\") == ["%100\\%%", "%a\\_b%", "%\\\\%"]


async def test_the_list_is_paged_newest_first(customers: Customers) -> None:
    registered = [await customers.register(f"+7916000000{each}") for each in range(5)]

    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await customers.http.get("/customers", params={"limit": "2", **cursor})).json()
        seen += [each["id"] for each in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}

    assert seen == [each["id"] for each in reversed(registered)]
