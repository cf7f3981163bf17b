"""Holds: points are reserved once, within the terms, and let go when the till releases them."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from contracts.customers import Card, CustomerBlocked
from contracts.holds import HoldReleased, PointsHeld
from services.loyalty import holds, quotes
from services.loyalty.accounts import find_known, lock_accounts
from tests.services.loyalty.tills import Till, paid, rich, shown, with_points_held
from tests.services.loyalty.world import NOW, Loyalty, adjust, card, problem, purchase


async def test_the_same_request_again_holds_once(loyalty: Loyalty, api: httpx.AsyncClient, till: Till) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    headers = {"Authorization": f"Bearer {till.key}", "Idempotency-Key": "once"}
    path = f"/till/purchases/{bought.receipt_id}/hold"
    first, again = [await api.post(path, json={"points": 60}, headers=headers) for _ in range(2)]
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert (await shown(api, customer_id))["held"] == 60
    other_key = await till.ask(bought.receipt_id, "hold", points=40)
    assert await problem(other_key) == (409, "points_held")


async def test_released_points_can_be_spent_again_and_the_quote_stays(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, _ = await with_points_held(loyalty, api, till, 100)
    released = await till.ask(bought.receipt_id, "release")
    assert (released.status_code, released.json()["state"]) == (200, "released")
    assert (await shown(api, customer_id))["available"] == 100
    assert await problem(await till.ask(bought.receipt_id, "release")) == (404, "nothing_held")
    assert [each.because for each in await loyalty.said(HoldReleased)] == ["released"]
    await till.hold(bought, 10)
    assert (await shown(api, customer_id))["held"] == 10
    assert await loyalty.differences() == []


@pytest.mark.parametrize(
    ("terms", "points", "status", "code"),
    [
        ({}, 101, 409, "not_enough_points"),
        ({"payable_share": 500}, 51, 422, "too_many_points"),
        ({"payable_line_share": 500}, 51, 422, "too_many_points"),
        ({"not_payable": {"categories": ["BREAD"]}}, 1, 422, "too_many_points"),
        ({"payable_min_points": 50}, 49, 422, "points_not_payable"),
        ({"payable_step_points": 10}, 55, 422, "points_not_payable"),
    ],
)
async def test_points_beyond_the_terms_are_not_held(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till, terms: Any, points: int, status: int, code: str
) -> None:
    await loyalty.set_terms(**terms)
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    assert await problem(await till.ask(bought.receipt_id, "hold", points=points)) == (status, code)
    assert (await shown(api, customer_id))["held"] == 0


async def test_terms_that_are_set_after_the_quote_hold_for_the_hold_at_once(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, _ = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    await loyalty.set_terms(payable_min_points=50, hold_life_s=60)
    assert await problem(await till.ask(bought.receipt_id, "hold", points=49)) == (422, "points_not_payable")
    hold = await till.hold(bought, 50)
    assert datetime.fromisoformat(hold["expires_at"]) == NOW + timedelta(seconds=60)


async def test_a_blocked_card_and_a_blocked_customer_hold_nothing(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    await loyalty.hear(Card(card_number=number, customer_id=customer_id, state="blocked"))
    assert await problem(await till.ask(bought.receipt_id, "hold", points=1)) == (404, "card_not_usable")
    await loyalty.hear(Card(card_number=number, customer_id=customer_id))
    await loyalty.hear(CustomerBlocked(customer_id=customer_id, blocked_at=NOW, reason="suspected_fraud"))
    assert await problem(await till.ask(bought.receipt_id, "hold", points=1)) == (409, "account_frozen")
    assert (await till.quote(purchase(number, 100_000)))["withheld"] == "account_frozen"


async def test_two_tills_that_want_the_same_points_get_them_once(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = [purchase(number, 100_000) for _ in range(10)]
    for each in bought:
        await till.quote(each)
    answers = await asyncio.gather(*(till.ask(each.receipt_id, "hold", points=40) for each in bought))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [409] * 8
    assert await shown(api, customer_id) == {"balance": 100, "available": 20, "held": 80, "debt": 0}
    assert len(await loyalty.said(PointsHeld)) == 2
    assert await loyalty.differences() == []


async def test_of_two_holds_of_one_receipt_at_once_one_stands(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    answers = await asyncio.gather(*(till.ask(bought.receipt_id, "hold", points=10) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 4
    assert (await shown(api, customer_id))["held"] == 10
    assert await loyalty.differences() == []


async def test_a_hold_for_a_purchase_that_was_completed_meanwhile_writes_nothing(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    others = card()
    await loyalty.knows(others)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    async with loyalty.database.transaction() as tx:
        quoted = await quotes.read(tx, bought.receipt_id)
        assert quoted is not None
        account = (await find_known(tx, [number])).opened[number].holder.main
        await loyalty.hear(purchase(others, 100_000, receipt=bought.receipt_id))
        assert await holds.place(tx, account, quoted, 60, 6_000) is None

    assert await shown(api, customer_id) == {"balance": 100, "available": 100, "held": 0, "debt": 0}
    assert await loyalty.rows("SELECT held FROM lots WHERE held <> 0") == []
    assert await loyalty.rows("SELECT hold_id FROM hold_lots") == []
    assert (await api.get(f"/purchases/{bought.receipt_id}")).json()["state"] == "completed"
    assert await loyalty.said(PointsHeld) == []
    assert await loyalty.differences() == []


async def test_a_hold_that_was_captured_meanwhile_is_not_let_go(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
    other = purchase(bought.card_number, 100_000)
    await till.quote(other)
    await till.hold(other, 40)
    async with loyalty.database.transaction() as tx:
        (standing,) = await holds.standing_at(tx, bought.receipt_id, "367-04")
        await loyalty.hear(paid(bought, hold))
        account = (await lock_accounts(tx, [standing.account_id]))[standing.account_id]
        assert not await holds.let_go(tx, [(standing, account)], "released")

    assert await shown(api, customer_id) == {"balance": 87, "available": 47, "held": 40, "debt": 0}
    states = await loyalty.rows("SELECT state FROM holds UNION ALL SELECT state FROM purchases ORDER BY 1")
    assert [row.state for row in states] == ["captured", "completed", "held", "held"]
    assert await loyalty.said(HoldReleased) == []
    assert await loyalty.differences() == []


async def test_of_releases_at_once_one_gives_the_points_back(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, _ = await with_points_held(loyalty, api, till, 60)
    answers = await asyncio.gather(*(till.ask(bought.receipt_id, "release") for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 4
    assert (await shown(api, customer_id))["held"] == 0
    assert len(await loyalty.said(HoldReleased)) == 1
    assert await loyalty.differences() == []


async def test_a_release_leaves_a_purchase_that_was_completed_with_another_card_as_it_is(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    others = card()
    await loyalty.knows(others)
    customer_id, bought, _ = await with_points_held(loyalty, api, till, 60)
    await loyalty.hear(purchase(others, 100_000, receipt=bought.receipt_id, terminal_id="367-04"))
    assert (await shown(api, customer_id))["held"] == 60
    assert (await till.ask(bought.receipt_id, "release")).status_code == 200
    assert (await shown(api, customer_id))["held"] == 0
    assert (await api.get(f"/purchases/{bought.receipt_id}")).json()["state"] == "completed"
    assert await loyalty.differences() == []


async def test_what_is_held_of_a_lot_is_not_taken_by_others(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api, 50)
    await adjust(api, customer_id, 50, expires_at=(NOW + timedelta(days=1)).isoformat())
    bought = purchase(number, 100_000)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, 30))
    await adjust(api, customer_id, -70)
    await loyalty.hear(complete)
    assert (await shown(api, customer_id))["balance"] == 48
    assert await loyalty.differences() == []


async def test_held_points_do_not_burn_and_are_taken_though_their_time_is_over(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
    complete = paid(bought, hold)
    await loyalty.rows("UPDATE lots SET expires_at = :now", now=NOW)
    await loyalty.expire()
    assert await shown(api, customer_id) == {"balance": 60, "available": 0, "held": 60, "debt": 0}
    await loyalty.hear(complete)
    assert (await shown(api, customer_id))["balance"] == 47
    assert await loyalty.differences() == []
