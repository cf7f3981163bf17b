"""Holds that nobody captured in time are given back; a purchase that comes later takes what is there."""

from datetime import timedelta
from uuid import uuid4

import httpx

from chassis.jobs import Job, run_job
from contracts.customers import CustomerBlocked
from contracts.holds import HoldReleased, PurchaseAbandoned
from contracts.loyalty import PointsAccrued, PointsRedeemed
from services.loyalty.holds import release_timed_out
from tests.services.loyalty.tills import Till, paid, rich, shown, with_points_held
from tests.services.loyalty.world import NOW, OLGA, Loyalty, adjust, card, problem, purchase


async def test_a_hold_that_times_out_gives_back_and_its_purchase_is_abandoned(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
    await run_job(Job(release_timed_out, every=timedelta(days=1)), loyalty.database)
    assert (await shown(api, customer_id))["held"] == 60
    loyalty.use_clock(lambda: NOW + timedelta(hours=1))
    await loyalty.time_out_holds()

    assert await shown(api, customer_id) == {"balance": 100, "available": 100, "held": 0, "debt": 0}
    assert [each.because for each in await loyalty.said(HoldReleased)] == ["timed_out"]
    abandoned = [(each.receipt_id, each.quoted_at) for each in await loyalty.said(PurchaseAbandoned)]
    assert abandoned == [(bought.receipt_id, NOW)]
    assert (await api.get(f"/purchases/{bought.receipt_id}")).json()["state"] == "abandoned"
    assert await problem(await till.ask(bought.receipt_id, "hold", points=1)) == (409, "purchase_abandoned")
    await till.quote(bought)
    await till.hold(bought, 1)
    assert hold["hold_id"]


async def test_holds_of_one_lot_that_time_out_together_all_give_back(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    for bought in (purchase(number, 100_000), purchase(number, 100_000)):
        await till.quote(bought)
        await till.hold(bought, 30)
    await loyalty.time_out_holds()
    assert await shown(api, customer_id) == {"balance": 100, "available": 100, "held": 0, "debt": 0}
    assert [each.available_after for each in await loyalty.said(HoldReleased)] == [70, 100]
    assert await loyalty.differences() == []


async def test_a_capture_after_the_time_out_takes_what_is_left_and_reports_the_rest(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
    await loyalty.time_out_holds()
    await adjust(api, customer_id, -70)
    await loyalty.hear(paid(bought, hold))

    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.points, redeemed.missing, redeemed.paid_minor) == (30, 30, 6_000)
    assert (await shown(api, customer_id))["balance"] == 47
    assert await loyalty.differences() == []


async def test_a_capture_after_the_time_out_of_a_smaller_receipt_misses_only_what_that_needs(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
    await loyalty.time_out_holds()
    await adjust(api, customer_id, -95)
    await loyalty.hear(paid(purchase(bought.card_number, 2_000, receipt=bought.receipt_id), hold))

    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.points, redeemed.missing, redeemed.paid_minor) == (5, 15, 2_000)
    assert [each.points_missing for each in await loyalty.said(PointsAccrued)] == [15]
    receipt = (await api.get(f"/purchases/{bought.receipt_id}")).json()
    assert [(each["state"], each["missing"]) for each in receipt["holds"]] == [("captured", 15)]
    assert await loyalty.differences() == []


async def test_a_capture_after_the_time_out_with_nothing_left_is_a_purchase_like_any_other(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
    await loyalty.time_out_holds()
    await adjust(api, customer_id, -100)
    await loyalty.hear(paid(bought, hold))

    assert await loyalty.said(PointsRedeemed) == []
    assert (await shown(api, customer_id))["balance"] == 47
    assert await loyalty.differences() == []


async def test_a_capture_after_the_time_out_takes_nothing_from_a_blocked_customer(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    customer_id, bought, hold = await with_points_held(loyalty, api, till, 60)
    await loyalty.time_out_holds()
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
    await loyalty.time_out_holds()
    await loyalty.hear(CustomerBlocked(customer_id=member_id, blocked_at=NOW, reason="suspected_fraud"))
    await loyalty.hear(paid(bought, hold))
    assert (await shown(api, holder_id))["balance"] == 100

    await loyalty.hear(purchase(number, 2_000))
    assert (await shown(api, holder_id))["balance"] == 101
    assert await loyalty.differences() == []


async def test_a_capture_after_the_time_out_leaves_points_that_cannot_be_spent_yet(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api, 60)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await loyalty.time_out_holds()
    soon, later = NOW + timedelta(days=1), NOW + timedelta(days=2)
    await adjust(api, customer_id, 50, activates_at=soon.isoformat(), expires_at=later.isoformat())
    await loyalty.hear(paid(bought, hold))

    left = await loyalty.rows("SELECT remaining, pending FROM lots WHERE amount IN (50, 60) ORDER BY expires_at")
    assert [(row.remaining, row.pending) for row in left] == [(50, True), (0, False)]
    assert await shown(api, customer_id) == {"balance": 97, "available": 47, "held": 0, "debt": 0}
    assert await loyalty.differences() == []
