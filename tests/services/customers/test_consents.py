from typing import Any

from contracts.customers import ConsentGiven, ConsentWithdrawn, Contact, CustomerChanged
from tests.services.customers.world import Customers, OpenCustomers, at_once, row_of

OPERATOR = {"Kopilka-Actor": "operator:anna"}


async def history(customers: Customers, customer: dict[str, Any]) -> list[dict[str, Any]]:
    return list((await customers.http.get(f"/customers/{customer['id']}/consents")).json()["items"])


async def test_a_consent_is_given_and_withdrawn_with_the_proof_of_both(customers: Customers) -> None:
    customer = await customers.register(consents=["sms"])
    sms = f"/customers/{customer['id']}/consents/sms"

    withdrawn = await customers.http.delete(sms, headers=OPERATOR)
    given = await customers.http.put(sms, headers={"Kopilka-Actor": "bot"})

    assert (withdrawn.status_code, given.status_code) == (204, 200)
    proof = await history(customers, customer)
    assert [(each["given"], each["source"], each["who"]) for each in proof] == [
        (True, "bot", "bot"),
        (False, "operator", "operator:anna"),
        (True, "till", "till"),
    ]
    assert proof[0]["at"] == given.json()["given_at"]


async def test_each_consent_is_said_and_the_contact_after_it(customers: Customers) -> None:
    customer = await customers.register()
    here = f"/customers/{customer['id']}/consents"

    await customers.http.put(f"{here}/telegram")
    await customers.http.put(f"{here}/sms")
    await customers.http.delete(f"{here}/telegram")

    contacts = await customers.said(Contact, customer)
    assert [[each.channel for each in contact.consents] for contact in contacts] == [
        [],
        ["telegram"],
        ["sms", "telegram"],
        ["sms"],
    ]
    assert [each.channel for each in await customers.said(ConsentGiven, customer)] == ["telegram", "sms"]
    assert [each.channel for each in await customers.said(ConsentWithdrawn, customer)] == ["telegram"]
    assert await customers.said(CustomerChanged, customer) == []


async def test_a_consent_given_again_keeps_its_moment_and_says_nothing(customers: Customers) -> None:
    customer = await customers.register()
    sms = f"/customers/{customer['id']}/consents/sms"
    first = await customers.http.put(sms)
    said = await customers.everything_said()

    again = await customers.http.put(sms)
    never_given = await customers.http.delete(f"/customers/{customer['id']}/consents/vk")

    assert again.json() == first.json()
    assert never_given.status_code == 204
    assert await customers.everything_said() == said


async def test_one_consent_given_by_many_at_the_same_moment_is_given_once(open_customers: OpenCustomers) -> None:
    tills = [open_customers(), open_customers()]
    customer = await tills[0].register()
    calls = [tills[each % 2].http.put(f"/customers/{customer['id']}/consents/sms") for each in range(6)]

    answers = await at_once(calls, tills[0], row_of(customer))

    assert [answer.status_code for answer in answers] == [200] * 6
    assert len({answer.text for answer in answers}) == 1
    assert len(await tills[0].said(ConsentGiven, customer)) == len(await history(tills[0], customer)) == 1


async def test_there_is_no_consent_to_a_channel_that_is_not_one(customers: Customers) -> None:
    customer = await customers.register()

    assert (await customers.http.put(f"/customers/{customer['id']}/consents/pigeon")).status_code == 422
