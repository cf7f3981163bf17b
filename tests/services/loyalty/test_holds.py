"""Quotes, holds and captures: points are reserved once, taken once, and given back if nobody takes them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from chassis.jobs import Job, run_job
from contracts.customers import Card, CustomerBlocked
from contracts.holds import HoldReleased, PointsHeld, PurchaseAbandoned
from contracts.loyalty import PointsAccrued, PointsRedeemed
from contracts.purchases import PurchaseCompleted
from services.loyalty.holds import release_timed_out
from services.loyalty.quotes import abandon_stale
from tests.services.loyalty.test_terminals import with_key
from tests.services.loyalty.world import NOW, OLGA, Loyalty, adjust, cancelled, card, problem, purchase


class Till:
    """A till that speaks HTTP."""

    def __init__(self, api: httpx.AsyncClient, key: str) -> None:
        self.api = api
        self.key = key

    async def ask(self, receipt: str, what: str, **form: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": str(uuid4())}
        return await self.api.post(f"/till/purchases/{receipt}/{what}", json=form, headers=headers)

    async def quote(self, bought: PurchaseCompleted, **other: Any) -> Any:
        answer = await self.ask(bought.receipt_id, "quote", **(quote_form(bought) | other))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def hold(self, bought: PurchaseCompleted, points: int, **other: Any) -> Any:
        answer = await self.ask(bought.receipt_id, "hold", points=points, **other)
        assert answer.status_code == 201, answer.text
        return answer.json()


def quote_form(bought: PurchaseCompleted) -> dict[str, Any]:
    return bought.model_dump(mode="json", include={"card_number", "phone", "customer_id", "currency", "lines"})


@pytest.fixture
async def till(api: httpx.AsyncClient) -> AsyncIterator[Till]:
    yield Till(api, await with_key(api))


async def rich(loyalty: Loyalty, api: httpx.AsyncClient, points: int = 100) -> tuple[str, UUID]:
    """A card, and its customer, who has so many points."""
    number = card()
    customer_id = await loyalty.knows(number)
    await adjust(api, customer_id, points)
    return number, customer_id


async def shown(api: httpx.AsyncClient, customer_id: UUID) -> dict[str, int]:
    (account,) = (await api.get(f"/customers/{customer_id}/balance")).json()["accounts"]
    return {name: account[name] for name in ("balance", "available", "held", "debt")}


def paid(bought: PurchaseCompleted, hold: Any) -> PurchaseCompleted:
    return bought.model_copy(update={"hold_id": UUID(hold["hold_id"])})


async def test_a_quote_says_what_each_line_earns_and_what_can_be_paid(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    await loyalty.set_terms(payable_share=5_000, payable_step_points=10, not_payable={"products": ["p2"]})
    number, _ = await rich(loyalty, api, 777)
    quote = await till.quote(purchase(number, 100_000, 14_000))

    assert (quote["points"], quote["level"], quote["cashback_basis_points"], quote["withheld"]) == (
        57,
        "base",
        500,
        None,
    )
    assert [(line["points"], line["payable_minor"], line["why"]) for line in quote["lines"]] == [
        (50, 57_000, "level:base"),
        (7, 0, "level:base"),
    ]
    (payable,) = quote["payable"]
    assert (payable["available"], payable["most_points"], payable["most_minor"]) == (777, 570, 57_000)


async def test_held_points_are_reserved_and_taken_by_the_completed_purchase(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    assert (hold["worth_minor"], hold["available"]) == (6_000, 40)
    assert await shown(api, customer_id) == {"balance": 100, "available": 40, "held": 60, "debt": 0}

    await loyalty.hear(paid(bought, hold))
    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.points, redeemed.paid_minor, redeemed.missing, redeemed.balance_after) == (60, 6_000, 0, 40)
    (accrued,) = await loyalty.said(PointsAccrued)
    assert (accrued.points, accrued.points_paid) == (47, 60)
    assert await shown(api, customer_id) == {"balance": 87, "available": 87, "held": 0, "debt": 0}
    receipt = (await api.get(f"/purchases/{bought.receipt_id}")).json()
    assert (receipt["state"], receipt["points_paid"], receipt["paid_minor"]) == ("completed", 60, 6_000)
    assert [each["state"] for each in receipt["holds"]] == ["captured"]
    assert await loyalty.differences() == []


async def test_a_receipt_that_became_smaller_takes_only_the_points_that_it_can_be_paid_with(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api, 50)
    await adjust(api, customer_id, 20, expires_at=(NOW + timedelta(days=1)).isoformat())
    await adjust(api, customer_id, 20, expires_at=(NOW + timedelta(days=2)).isoformat())
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    smaller = purchase(number, 1_550, 1_000, receipt=bought.receipt_id)
    await loyalty.hear(paid(smaller, hold))

    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.points, redeemed.paid_minor, redeemed.missing) == (26, 2_550, 0)
    assert (redeemed.balance_after, redeemed.available_after) == (64, 64)
    assert await shown(api, customer_id) == {"balance": 64, "available": 64, "held": 0, "debt": 0}
    receipt = (await api.get(f"/purchases/{bought.receipt_id}")).json()
    assert (receipt["points_paid"], receipt["paid_minor"]) == (26, 2_550)
    assert [(line["points_paid"], line["paid_minor"]) for line in receipt["lines"]] == [(16, 1_550), (10, 1_000)]
    assert [(each["state"], each["points"], each["missing"]) for each in receipt["holds"]] == [("captured", 60, 0)]
    left = await loyalty.rows("SELECT remaining FROM lots ORDER BY expires_at")
    assert [row.remaining for row in left] == [0, 14, 50]
    assert await loyalty.differences() == []
    await loyalty.hear(cancelled(smaller))
    assert (await shown(api, customer_id))["balance"] == 90
    assert await loyalty.differences() == []


async def test_a_receipt_that_has_nothing_left_to_pay_gives_the_points_back(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await loyalty.hear(paid(purchase(number, 0, receipt=bought.receipt_id), hold))

    assert await shown(api, customer_id) == {"balance": 100, "available": 100, "held": 0, "debt": 0}
    assert await loyalty.said(PointsRedeemed) == []
    assert [each.because for each in await loyalty.said(HoldReleased)] == ["not_captured"]
    assert await loyalty.differences() == []


async def test_held_points_are_taken_at_the_worth_that_they_were_held_at(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    await set_redemption(api, customer_id, 15_000)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    assert hold["worth_minor"] == 9_000
    await set_redemption(api, customer_id, 5_000)
    currency = {"code": "points", "name_ru": "баллы", "name_en": "points", "scale": 0, "worth_minor": 500}
    await loyalty.set_terms(points_currencies=[currency], since=NOW + timedelta(seconds=1))
    loyalty.use_clock(lambda: NOW + timedelta(seconds=2))
    smaller = purchase(number, 3_100, receipt=bought.receipt_id, completed_at=NOW + timedelta(seconds=2))
    await loyalty.hear(paid(smaller, hold))

    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.points, redeemed.paid_minor, redeemed.missing) == (21, 3_100, 0)
    assert await loyalty.differences() == []


async def set_redemption(api: httpx.AsyncClient, customer_id: UUID, coefficient: int) -> None:
    headers = {"Idempotency-Key": str(uuid4()), **OLGA}
    form = {"redemption_coefficient": coefficient, "reason": "employee"}
    answer = await api.put(f"/customers/{customer_id}/coefficients", json=form, headers=headers)
    assert answer.status_code == 204, answer.text


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
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    await till.hold(bought, 100)
    released = await till.ask(bought.receipt_id, "release")
    assert (released.status_code, released.json()["state"]) == (200, "released")
    assert (await shown(api, customer_id))["available"] == 100
    assert await problem(await till.ask(bought.receipt_id, "release")) == (404, "nothing_held")
    assert [each.because for each in await loyalty.said(HoldReleased)] == ["released"]
    await till.hold(bought, 10)
    assert (await shown(api, customer_id))["held"] == 10
    assert await loyalty.differences() == []


async def time_out(loyalty: Loyalty) -> None:
    await loyalty.rows("UPDATE holds SET expires_at = :now WHERE state = 'held'", now=NOW)
    await run_job(Job(release_timed_out, every=timedelta(days=1)), loyalty.database)


async def test_a_hold_that_times_out_gives_back_and_its_purchase_is_abandoned(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await run_job(Job(release_timed_out, every=timedelta(days=1)), loyalty.database)
    assert (await shown(api, customer_id))["held"] == 60
    await time_out(loyalty)

    assert await shown(api, customer_id) == {"balance": 100, "available": 100, "held": 0, "debt": 0}
    assert [each.because for each in await loyalty.said(HoldReleased)] == ["timed_out"]
    assert [each.receipt_id for each in await loyalty.said(PurchaseAbandoned)] == [bought.receipt_id]
    assert (await api.get(f"/purchases/{bought.receipt_id}")).json()["state"] == "abandoned"
    assert await problem(await till.ask(bought.receipt_id, "hold", points=1)) == (409, "purchase_abandoned")
    await till.quote(bought)
    await till.hold(bought, 1)
    assert hold["hold_id"]


async def test_a_capture_after_the_time_out_takes_what_is_left_and_reports_the_rest(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await time_out(loyalty)
    await adjust(api, customer_id, -70)
    await loyalty.hear(paid(bought, hold))

    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.points, redeemed.missing, redeemed.paid_minor) == (30, 30, 6_000)
    assert (await shown(api, customer_id))["balance"] == 47
    assert await loyalty.differences() == []


async def test_a_capture_after_the_time_out_of_a_smaller_receipt_misses_only_what_that_needs(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await time_out(loyalty)
    await adjust(api, customer_id, -95)
    await loyalty.hear(paid(purchase(number, 2_000, receipt=bought.receipt_id), hold))

    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.points, redeemed.missing, redeemed.paid_minor) == (5, 15, 2_000)
    assert [each.points_missing for each in await loyalty.said(PointsAccrued)] == [15]
    receipt = (await api.get(f"/purchases/{bought.receipt_id}")).json()
    assert [(each["state"], each["missing"]) for each in receipt["holds"]] == [("captured", 15)]
    assert await loyalty.differences() == []


async def test_a_capture_after_the_time_out_with_nothing_left_is_a_purchase_like_any_other(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await time_out(loyalty)
    await adjust(api, customer_id, -100)
    await loyalty.hear(paid(bought, hold))

    assert await loyalty.said(PointsRedeemed) == []
    assert (await shown(api, customer_id))["balance"] == 47
    assert await loyalty.differences() == []


async def test_a_capture_after_the_time_out_takes_nothing_from_a_blocked_customer(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await time_out(loyalty)
    await loyalty.hear(CustomerBlocked(customer_id=customer_id, blocked_at=NOW, reason="suspected_fraud"))
    await loyalty.hear(paid(bought, hold))

    assert await loyalty.said(PointsRedeemed) == []
    (accrued,) = await loyalty.said(PointsAccrued)
    assert (accrued.points_paid, accrued.points_missing, accrued.withheld) == (0, 60, "account_frozen")
    assert (await shown(api, customer_id))["balance"] == 100
    receipt = (await api.get(f"/purchases/{bought.receipt_id}")).json()
    assert (receipt["points_paid"], receipt["paid_minor"]) == (0, 6_000)
    assert [(each["state"], each["missing"]) for each in receipt["holds"]] == [("captured", 60)]
    assert await loyalty.differences() == []


async def test_a_capture_after_the_time_out_takes_nothing_for_a_blocked_member_of_the_family(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, holder_id = await rich(loyalty, api)
    members = card()
    member_id = await loyalty.knows(members)
    headers = {"Idempotency-Key": str(uuid4()), **OLGA}
    assert (await api.post(f"/customers/{holder_id}/members/{member_id}", headers=headers)).status_code == 201
    bought = purchase(members, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await time_out(loyalty)
    await loyalty.hear(CustomerBlocked(customer_id=member_id, blocked_at=NOW, reason="suspected_fraud"))
    await loyalty.hear(paid(bought, hold))
    assert (await shown(api, holder_id))["balance"] == 100

    await loyalty.hear(purchase(number, 2_000))
    assert (await shown(api, holder_id))["balance"] == 101
    assert await loyalty.differences() == []


async def test_points_held_before_the_customer_was_blocked_are_taken(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await loyalty.hear(CustomerBlocked(customer_id=customer_id, blocked_at=NOW, reason="suspected_fraud"))
    await loyalty.hear(paid(bought, hold))

    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.points, redeemed.missing) == (60, 0)
    assert await shown(api, customer_id) == {"balance": 40, "available": 40, "held": 0, "debt": 0}
    assert await loyalty.differences() == []


async def test_another_customers_card_pays_nothing_for_the_first_ones_hold_where_that_one_is_blocked(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    others, other_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await loyalty.hear(CustomerBlocked(customer_id=other_id, blocked_at=NOW, reason="suspected_fraud"))
    await loyalty.hear(paid(purchase(others, 100_000, receipt=bought.receipt_id), hold))

    assert (await shown(api, other_id))["balance"] == 100
    assert (await shown(api, customer_id))["held"] == 60
    await time_out(loyalty)
    assert await shown(api, customer_id) == {"balance": 100, "available": 100, "held": 0, "debt": 0}
    assert await loyalty.differences() == []


async def test_a_till_that_released_its_hold_and_names_it_all_the_same_took_the_money_off(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    assert (await till.ask(bought.receipt_id, "release")).status_code == 200
    await adjust(api, customer_id, -50)
    await loyalty.hear(paid(bought, hold))

    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.points, redeemed.missing, redeemed.paid_minor) == (50, 10, 6_000)
    assert (await shown(api, customer_id))["balance"] == 47
    assert await loyalty.differences() == []


async def test_a_capture_after_the_time_out_leaves_points_that_cannot_be_spent_yet(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api, 60)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await time_out(loyalty)
    soon, later = NOW + timedelta(days=1), NOW + timedelta(days=2)
    await adjust(api, customer_id, 50, activates_at=soon.isoformat(), expires_at=later.isoformat())
    await loyalty.hear(paid(bought, hold))

    left = await loyalty.rows("SELECT remaining, pending FROM lots WHERE amount IN (50, 60) ORDER BY expires_at")
    assert [(row.remaining, row.pending) for row in left] == [(50, True), (0, False)]
    assert await shown(api, customer_id) == {"balance": 97, "available": 47, "held": 0, "debt": 0}
    assert await loyalty.differences() == []


async def test_a_purchase_completed_without_its_hold_gives_the_points_back(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    await till.hold(bought, 60)
    await loyalty.hear(bought)

    assert await shown(api, customer_id) == {"balance": 150, "available": 150, "held": 0, "debt": 0}
    assert [each.because for each in await loyalty.said(HoldReleased)] == ["not_captured"]
    assert await loyalty.differences() == []


async def test_a_purchase_with_the_hold_of_another_receipt_is_refused(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought, other = purchase(number, 100_000), purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await loyalty.hear(paid(other, hold), purchase(number, 2_000))

    assert await loyalty.refused() == ["unknown_hold"]
    assert await shown(api, customer_id) == {"balance": 101, "available": 41, "held": 60, "debt": 0}
    assert await loyalty.differences() == []


async def test_a_captured_purchase_that_comes_again_takes_nothing_more(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, 60))
    await loyalty.hear(complete, complete)
    await loyalty.hear(complete)
    assert (await shown(api, customer_id))["balance"] == 87
    assert await loyalty.refused() == []


async def test_several_captures_of_one_lot_in_one_batch_all_take_theirs(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = [purchase(number, 100_000) for _ in range(3)]
    completes = []
    for each in bought:
        await till.quote(each)
        completes.append(paid(each, await till.hold(each, 30)))
    await loyalty.hear(*completes)
    assert (await shown(api, customer_id))["balance"] == 10 + 3 * 48
    assert await loyalty.differences() == []


async def test_held_points_do_not_burn_and_are_taken_though_their_time_is_over(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, 60))
    await loyalty.rows("UPDATE lots SET expires_at = :now", now=NOW)
    await loyalty.expire()
    assert await shown(api, customer_id) == {"balance": 60, "available": 0, "held": 60, "debt": 0}
    await loyalty.hear(complete)
    assert (await shown(api, customer_id))["balance"] == 47
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


async def test_another_till_neither_quotes_nor_holds_nor_releases_this_receipt(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    other = Till(api, await with_key(api, "112-01", "112"))
    number, _ = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    assert await problem(await other.ask(bought.receipt_id, "quote", **quote_form(bought))) == (409, "receipt_taken")
    assert await problem(await other.ask(bought.receipt_id, "hold", points=1)) == (404, "quote_not_found")
    await till.hold(bought, 1)
    assert await problem(await other.ask(bought.receipt_id, "release")) == (404, "quote_not_found")


async def test_a_completed_purchase_is_not_quoted_again(loyalty: Loyalty, api: httpx.AsyncClient, till: Till) -> None:
    number, _ = await rich(loyalty, api)
    bought = purchase(number, 100_000, terminal_id="367-04")
    await till.quote(bought)
    await loyalty.hear(bought)
    assert await problem(await till.ask(bought.receipt_id, "quote", **quote_form(bought))) == (
        409,
        "purchase_completed",
    )
    assert await problem(await till.ask(bought.receipt_id, "hold", points=1)) == (409, "purchase_completed")


async def test_quotes_that_came_to_nothing_are_abandoned_and_can_be_asked_for_anew(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, _ = await rich(loyalty, api)
    old, young = purchase(number, 100_000), purchase(number, 100_000)
    await till.quote(old)
    await till.quote(young)
    await loyalty.rows(
        "UPDATE purchases SET quoted_at = :then WHERE receipt_id = :old",
        then=NOW - timedelta(days=2),
        old=old.receipt_id,
    )
    await run_job(Job(abandon_stale, every=timedelta(days=1)), loyalty.database)

    assert [each.receipt_id for each in await loyalty.said(PurchaseAbandoned)] == [old.receipt_id]
    await till.quote(old)
    await loyalty.hear(old)
    assert (await api.get(f"/purchases/{old.receipt_id}")).json()["state"] == "completed"


async def test_unknown_and_blocked_cards_are_answered_alike(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    await loyalty.hear(Card(card_number=number, customer_id=customer_id, state="blocked"))
    answers = []
    for each in (number, card()):
        bought = purchase(each, 100_000)
        answer = (await till.ask(bought.receipt_id, "quote", **quote_form(bought))).json()
        answers.append({**answer, "instance": ""})
    assert answers[0] == answers[1]
    assert answers[0]["status"] == 404


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


async def test_a_bad_quote_names_its_field(loyalty: Loyalty, api: httpx.AsyncClient, till: Till) -> None:
    number, _ = await rich(loyalty, api)
    form = quote_form(purchase(number, 100_000))
    bad = await till.ask("r-bad", "quote", **{**form, "currency": "rub"})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "currency")
    nobody = await till.ask("r-bad", "quote", **{**form, "card_number": None})
    assert nobody.status_code == 422
    foreign = await till.ask("r-bad", "quote", **{**form, "currency": "XTS"})
    assert await problem(foreign) == (422, "unknown_currency")


@pytest.mark.parametrize(
    ("line", "field", "english", "russian"),
    [
        (
            {"total_minor": 1},
            "lines[1].total_minor",
            "must be amount_minor - discount_minor: 50000",
            "должно быть amount_minor - discount_minor: 50000",
        ),
        (
            {"line_no": 1},
            "lines",
            "two lines have the same line_no; give each line its own",
            "у двух строк одинаковый line_no; дайте каждой строке свой",
        ),
    ],
)
async def test_a_quote_whose_lines_make_no_receipt_is_told_by_field_in_the_tills_language(
    api: httpx.AsyncClient, till: Till, line: dict[str, int], field: str, english: str, russian: str
) -> None:
    form = quote_form(purchase(card(), 100_000, 50_000))
    form["lines"][1] |= line
    for language, detail in (("en", english), ("ru", russian)):
        till.api.headers["Accept-Language"] = language
        answer = await till.ask("r-bad", "quote", **form)
        assert answer.json()["errors"] == [{"field": field, "detail": detail}]


async def test_a_receipt_with_points_held_is_not_quoted_again(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, _ = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    await till.hold(bought, 10)
    assert await problem(await till.ask(bought.receipt_id, "quote", **quote_form(bought))) == (409, "points_held")


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
