from uuid import uuid4

from contracts.customers import CustomerBlocked, CustomerUnblocked
from tests.services.customers.world import Customers, fields_at_fault

FRAUD = {"reason": "suspected_fraud"}


async def test_a_blocked_customer_is_said_and_shown_with_the_reason_until_unblocked(customers: Customers) -> None:
    anna = await customers.register()
    assert anna["blocked"] is None

    answer = await customers.post(f"/customers/{anna['id']}/block", FRAUD, **{"Kopilka-Actor": "operator:olga"})

    assert answer.status_code == 200
    assert answer.json()["blocked"]["reason"] == "suspected_fraud"
    assert (await customers.get(anna))["blocked"] == answer.json()["blocked"]
    (said,) = await customers.said(CustomerBlocked, anna)
    assert said.reason == "suspected_fraud"

    assert (await customers.post(f"/customers/{anna['id']}/unblock")).json()["blocked"] is None

    (back,) = await customers.said(CustomerUnblocked, anna)
    assert back.unblocked_at > said.blocked_at
    trail = (await customers.http.get(f"/customers/{anna['id']}/audit")).json()["items"]
    assert [(line["action"], line["who"], line["what"]) for line in trail[:2]] == [
        ("unblocked", "till", []),
        ("blocked", "operator:olga", ["suspected_fraud"]),
    ]


async def test_blocking_twice_keeps_the_first_reason_and_says_nothing_more(customers: Customers) -> None:
    anna = await customers.register()
    await customers.post(f"/customers/{anna['id']}/unblock")
    first = await customers.post(f"/customers/{anna['id']}/block", FRAUD)
    again = await customers.post(f"/customers/{anna['id']}/block", {"reason": "abuse"})

    assert again.json()["blocked"] == first.json()["blocked"]
    assert len(await customers.said(CustomerBlocked, anna)) == 1
    assert await customers.said(CustomerUnblocked, anna) == []


async def test_a_block_without_a_good_reason_or_of_nobody_is_refused(customers: Customers) -> None:
    anna = await customers.register()
    for form in ({}, {"reason": "Because of fraud!"}, {"reason": ""}):
        assert "reason" in fields_at_fault(await customers.post(f"/customers/{anna['id']}/block", form))
    assert (await customers.post(f"/customers/{uuid4()}/block", FRAUD)).status_code == 404
    await customers.http.delete(f"/customers/{anna['id']}")
    assert (await customers.post(f"/customers/{anna['id']}/block", FRAUD)).status_code == 410
    assert (await customers.post(f"/customers/{anna['id']}/unblock")).status_code == 410
    assert await customers.said(CustomerBlocked) == []
