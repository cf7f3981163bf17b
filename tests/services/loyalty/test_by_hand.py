"""Points given and taken by hand, and taken back: never more than there are, never twice."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from chassis.ids import new_id
from contracts.customers import CustomerBlocked
from contracts.loyalty import Balance, OperationReversed, PointsAdjusted, PointsReturned
from tests.services.loyalty.world import NOW, Loyalty, adjust, came_back, card, post, problem, purchase

DAY = timedelta(days=1)


async def lots(loyalty: Loyalty) -> dict[str, int]:
    """What is left in each lot."""
    return {
        str(row.operation_id): row.remaining for row in await loyalty.rows("SELECT operation_id, remaining FROM lots")
    }


async def test_points_given_by_hand_are_in_the_ledger_with_who_and_why(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    customer_id = await loyalty.knows(card())
    given = await adjust(api, customer_id, 100, comment="The milk was sour.")

    assert (given["type"], given["points"], given["actor"]) == ("manual", 100, "operator:olga")
    assert (given["reason"], given["comment"]) == ("complaint", "The milk was sour.")
    (listed,) = (await api.get(f"/customers/{customer_id}/operations")).json()["items"]
    assert listed == given
    (said,) = await loyalty.said(PointsAdjusted)
    assert (said.points, said.balance_after, said.actor, said.reason) == (100, 100, "operator:olga", "complaint")
    assert said.expires_at == NOW + 365 * DAY
    assert "milk" not in said.model_dump_json()
    assert [each.balances[0].available for each in await loyalty.said(Balance)] == [100]
    assert await loyalty.differences() == []


async def test_points_are_taken_from_the_lots_that_burn_soonest(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = await loyalty.knows(card())
    late = await adjust(api, customer_id, 100, expires_at=(NOW + 30 * DAY).isoformat())
    soon = await adjust(api, customer_id, 100, expires_at=(NOW + 10 * DAY).isoformat())
    taken = await adjust(api, customer_id, -130)

    assert taken["points"] == -130
    assert await lots(loyalty) == {late["id"]: 70, soon["id"]: 0}
    assert await loyalty.balance(customer_id) == 70
    assert await loyalty.differences() == []


async def test_more_than_there_is_cannot_be_taken(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = await loyalty.knows(card())
    await adjust(api, customer_id, 100)
    refused = await post(api, f"/customers/{customer_id}/operations", points=-101)

    assert await problem(refused) == (409, "not_enough_points")
    assert "100" in refused.json()["detail"]
    assert await loyalty.balance(customer_id) == 100


async def test_a_hundred_deductions_at_once_take_no_more_than_there_was(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(*(purchase(number, 20_000) for _ in range(10)))
    answers, _ = await asyncio.gather(
        asyncio.gather(*(post(api, f"/customers/{customer_id}/operations", points=-3) for _ in range(100))),
        asyncio.gather(*(loyalty.hear(purchase(number, 20_000)) for _ in range(5))),
    )

    done = [answer.status_code for answer in answers].count(201)
    assert {answer.status_code for answer in answers} == {201, 409}
    assert 33 <= done <= 50
    assert await loyalty.balance(customer_id) == 150 - 3 * done
    assert await loyalty.differences() == []


async def test_a_gift_that_is_reversed_is_gone_and_both_stay_in_the_ledger(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    customer_id = await loyalty.knows(card())
    given = await adjust(api, customer_id, 100)
    answer = await post(api, f"/operations/{given['id']}/reversal", reason="mistake")

    assert answer.status_code == 201
    assert (answer.json()["type"], answer.json()["points"]) == ("reversal", -100)
    assert answer.json()["reverses"] == given["id"]
    newest, oldest = (await api.get(f"/customers/{customer_id}/operations")).json()["items"]
    assert (oldest["id"], oldest["reversed_by"]) == (given["id"], [newest["id"]])
    (said,) = await loyalty.said(OperationReversed)
    assert (str(said.reverses), said.points, said.balance_after) == (given["id"], -100, 0)
    assert await loyalty.differences() == []


async def test_a_deduction_that_is_reversed_gives_the_points_back_to_their_own_lots(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    customer_id = await loyalty.knows(card())
    for days in (30, 10, 20):
        await adjust(api, customer_id, 50, expires_at=(NOW + days * DAY).isoformat())
    before = await lots(loyalty)
    taken = await adjust(api, customer_id, -120)
    assert sorted((await lots(loyalty)).values()) == [0, 0, 30]
    await post(api, f"/operations/{taken['id']}/reversal")

    assert await lots(loyalty) == before
    assert await loyalty.balance(customer_id) == 150
    assert await loyalty.differences() == []


async def test_an_operation_is_reversed_once_however_many_ask_at_once(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = await loyalty.knows(card())
    await adjust(api, customer_id, 100)
    given = await adjust(api, customer_id, 100)
    answers = await asyncio.gather(*(post(api, f"/operations/{given['id']}/reversal") for _ in range(8)))

    refused = [await problem(each) for each in answers if each.status_code != 201]
    assert refused == [(409, "already_reversed")] * 7
    assert await loyalty.balance(customer_id) == 100


async def test_a_gift_that_is_partly_spent_is_not_reversed_and_the_problem_says_what_is_left(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    customer_id = await loyalty.knows(card())
    given = await adjust(api, customer_id, 100)
    await adjust(api, customer_id, -40)
    refused = await post(api, f"/operations/{given['id']}/reversal")

    assert await problem(refused) == (409, "points_spent")
    assert "60" in refused.json()["detail"]
    assert await loyalty.balance(customer_id) == 60


async def test_a_purchase_is_not_reversed_by_hand(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000))
    (bought,) = (await api.get(f"/customers/{customer_id}/operations")).json()["items"]

    assert await problem(await post(api, f"/operations/{bought['id']}/reversal")) == (409, "not_by_hand")
    assert await problem(await post(api, f"/operations/{new_id()}/reversal")) == (404, "operation_not_found")


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"points": 0}, "points"),
        ({"points": 10**14}, "points"),
        ({"points": 1.5}, "points"),
        ({"points": 1, "reason": "Because!"}, "reason"),
        ({"points": 1, "comment": "x" * 501}, "comment"),
        ({"points": 1, "coment": "x"}, "coment"),
        ({"points": 1, "expires_at": "2025-11-02T12:00:00"}, "expires_at"),
        ({"points": 1, "expires_at": NOW.isoformat()}, "expires_at"),
    ],
)
async def test_a_bad_adjustment_is_refused_by_its_field(
    loyalty: Loyalty, api: httpx.AsyncClient, form: dict[str, Any], field: str
) -> None:
    customer_id = await loyalty.knows(card())
    refused = await post(api, f"/customers/{customer_id}/operations", **form)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    assert await loyalty.balance(customer_id) == 0


async def test_who_is_blocked_gets_no_gift_but_can_be_taken_from(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = await loyalty.knows(card())
    await adjust(api, customer_id, 100)
    await loyalty.hear(CustomerBlocked(customer_id=customer_id, blocked_at=NOW, reason="suspected_fraud"))

    refused = await post(api, f"/customers/{customer_id}/operations", points=1)
    assert await problem(refused) == (409, "account_frozen")
    await adjust(api, customer_id, -100)
    assert await loyalty.balance(customer_id) == 0


@pytest.mark.parametrize(("rule", "taken", "written_off"), [("other_lots", 50, 0), ("write_off", 20, 30)])
async def test_a_return_of_what_earned_points_that_are_spent_goes_by_the_terms(
    loyalty: Loyalty, api: httpx.AsyncClient, rule: str, taken: int, written_off: int
) -> None:
    await loyalty.set_terms(returned_but_spent=rule)
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000)
    await loyalty.hear(bought)
    await adjust(api, customer_id, -30)
    await adjust(api, customer_id, 40)
    await loyalty.hear(came_back(bought, {1: 100_000}))

    (returned,) = await loyalty.said(PointsReturned)
    assert (returned.points, returned.written_off) == (taken, written_off)
    assert await loyalty.balance(customer_id) == 60 - taken
    (shown,) = (await api.get(f"/purchases/{bought.receipt_id}")).json()["returns"]
    assert (shown["points"], shown["written_off"]) == (taken, written_off)
    assert await loyalty.differences() == []


async def test_a_return_takes_from_the_lot_of_its_purchase_though_another_one_burns_sooner(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 60_000, 40_000)
    await loyalty.hear(bought)
    gift = await adjust(api, customer_id, 40, expires_at=(NOW + DAY).isoformat())
    await loyalty.hear(came_back(bought, {1: 60_000}))

    left = await lots(loyalty)
    assert left.pop(gift["id"]) == 40
    assert list(left.values()) == [20]


async def test_a_return_takes_what_there_is_and_writes_off_the_rest(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 60_000, 40_000)
    await loyalty.hear(bought)
    await adjust(api, customer_id, -45)
    await loyalty.hear(came_back(bought, {1: 60_000}))
    await loyalty.hear(came_back(bought, {2: 40_000}))

    assert [(each.points, each.written_off) for each in await loyalty.said(PointsReturned)] == [(5, 25), (0, 20)]
    assert await loyalty.balance(customer_id) == 0
    assert await loyalty.refused() == []
    assert await loyalty.differences() == []


async def test_an_operation_is_reversed_in_parts_and_never_beyond_itself(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    customer_id = await loyalty.knows(card())
    given = await adjust(api, customer_id, 100)
    first = await post(api, f"/operations/{given['id']}/reversal", reason="mistake", points=30)
    assert (first.status_code, first.json()["points"]) == (201, -30)
    beyond = await post(api, f"/operations/{given['id']}/reversal", reason="mistake", points=71)
    assert await problem(beyond) == (409, "reversed_too_much")
    rest = await post(api, f"/operations/{given['id']}/reversal", reason="mistake")
    assert rest.json()["points"] == -70
    again = await post(api, f"/operations/{given['id']}/reversal", reason="mistake", points=1)
    assert await problem(again) == (409, "already_reversed")
    assert await loyalty.balance(customer_id) == 0
    assert await loyalty.differences() == []


async def test_a_deduction_reversed_in_parts_fills_its_lots_as_one_reversal_does(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    customer_id = await loyalty.knows(card())
    for days in (10, 20, 30):
        await adjust(api, customer_id, 50, expires_at=(NOW + timedelta(days=days)).isoformat())
    taken = await adjust(api, customer_id, -120)
    left = []
    for points in (60, 10, 50):
        await post(api, f"/operations/{taken['id']}/reversal", reason="mistake", points=points)
        rows = await loyalty.rows("SELECT remaining FROM lots ORDER BY expires_at")
        left.append([row.remaining for row in rows])
    assert left == [[0, 40, 50], [0, 50, 50], [50, 50, 50]]
    assert await loyalty.differences() == []
