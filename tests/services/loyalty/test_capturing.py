"""Captures: the completed purchase takes once what is held for it, and no more than it can be paid with."""

from datetime import timedelta
from uuid import UUID, uuid4

import httpx

from contracts.customers import CustomerBlocked
from contracts.holds import HoldReleased
from contracts.loyalty import PointsAccrued, PointsRedeemed
from tests.services.loyalty.tills import Till, paid, rich, shown, with_points_held
from tests.services.loyalty.world import NOW, OLGA, Loyalty, adjust, cancelled, purchase


async def set_redemption(api: httpx.AsyncClient, customer_id: UUID, coefficient: int) -> None:
    headers = {"Idempotency-Key": str(uuid4()), **OLGA}
    form = {"redemption_coefficient": coefficient, "reason": "employee"}
    answer = await api.put(f"/customers/{customer_id}/coefficients", json=form, headers=headers)
    assert answer.status_code == 204, answer.text


async def test_held_points_are_reserved_and_taken_by_the_completed_purchase(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
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
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
    await loyalty.hear(paid(purchase(bought.card_number, 0, receipt=bought.receipt_id), hold))

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


async def test_points_held_before_the_customer_was_blocked_are_taken(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
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
    await loyalty.time_out_holds()
    assert await shown(api, customer_id) == {"balance": 100, "available": 100, "held": 0, "debt": 0}
    assert await loyalty.differences() == []


async def test_a_till_that_released_its_hold_and_names_it_all_the_same_took_the_money_off(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
    assert (await till.ask(bought.receipt_id, "release")).status_code == 200
    await adjust(api, customer_id, -50)
    await loyalty.hear(paid(bought, hold))

    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.points, redeemed.missing, redeemed.paid_minor) == (50, 10, 6_000)
    assert (await shown(api, customer_id))["balance"] == 47
    assert await loyalty.differences() == []


async def test_a_purchase_completed_without_its_hold_gives_the_points_back(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, _ = await with_points_held(loyalty, api, till, 60)
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
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
    complete = paid(bought, hold)
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
