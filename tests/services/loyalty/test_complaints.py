"""What customers and chains complain of in loyalty programmes, and what must therefore never happen."""

import asyncio
import random
from datetime import timedelta

import httpx
import pytest

from contracts.loyalty import PointsAccrued, PointsRefunded
from tests.off_the_bus import came
from tests.services.loyalty.tills import Till, paid, rich, shown, with_key
from tests.services.loyalty.world import NOW, Loyalty, adjust, came_back, cancelled, card, purchase

DAY = timedelta(days=1)


async def test_a_replayed_event_never_awards_twice(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    heard = [came(purchase(number, 100_000), NOW) for _ in range(5)]
    await loyalty.hear(*heard)
    for _ in range(5):
        await loyalty.hear(*random.sample(heard, 3))
        await loyalty.hear(*(each.record for each in random.sample(heard, 3)))

    assert (await shown(api, customer_id))["balance"] == 5 * 50
    assert len(await loyalty.said(PointsAccrued)) == 5
    assert await loyalty.refused() == []


async def test_two_tills_never_spend_the_same_points_at_once(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number, customer_id = await rich(loyalty, api, 100)
    tills = [Till(api, await with_key(api, f"367-{place}")) for place in (4, 5)]
    bought = [purchase(number, 100_000, terminal_id=f"367-{place}") for place in (4, 5)]
    for till, each in zip(tills, bought, strict=True):
        assert (await till.quote(each))["payable"][0]["most_points"] == 100
    asked = [till.ask(each.receipt_id, "hold", points=80) for till, each in zip(tills, bought, strict=True)]
    answers = await asyncio.gather(*asked)

    assert sorted(answer.status_code for answer in answers) == [201, 409]
    (won,) = [place for place, answer in enumerate(answers) if answer.status_code == 201]
    await loyalty.hear(paid(bought[won], answers[won].json()), bought[1 - won])
    assert (await shown(api, customer_id))["balance"] == 100 - 80 + 46 + 50
    assert await loyalty.differences() == []


@pytest.mark.parametrize("way", ["return", "cancellation"])
async def test_a_return_never_keeps_the_points(loyalty: Loyalty, api: httpx.AsyncClient, way: str) -> None:
    number, customer_id = await rich(loyalty, api, 30)
    bought = purchase(number, 60_000, 40_000)
    await loyalty.hear(bought)
    await adjust(api, customer_id, -60)
    await loyalty.hear(came_back(bought, {1: 60_000, 2: 40_000}) if way == "return" else cancelled(bought))

    assert (await shown(api, customer_id))["balance"] == 0
    (back,) = (await api.get(f"/purchases/{bought.receipt_id}")).json()["returns"]
    assert (back["points"], back["written_off"]) == (20, 30)
    assert await loyalty.differences() == []


async def test_a_partial_refund_never_takes_the_points_twice(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api, 100)
    bought = purchase(number, 60_000, 40_000)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, 100))
    await loyalty.hear(complete)
    parts = [came_back(complete, {1: 20_000}), came_back(complete, {2: 40_000}), came_back(complete, {1: 40_000})]
    for each in parts:
        await loyalty.hear(each, each)
    await loyalty.hear(*parts, cancelled(complete))

    assert await shown(api, customer_id) == {"balance": 100, "available": 100, "held": 0, "debt": 0}
    assert sum(each.points for each in await loyalty.said(PointsRefunded)) == 100
    back = (await api.get(f"/purchases/{bought.receipt_id}")).json()["returns"]
    assert [sum(each[points] for each in back) for points in ("points", "written_off", "refunded")] == [45, 0, 100]
    assert await loyalty.differences() == []


async def test_points_expire_by_lot_and_those_that_burn_soonest_are_spent_first(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(*(purchase(number, 100_000, completed_at=NOW - days * DAY) for days in (100, 364, 200)))
    bought = purchase(number, 100_000)
    await till.quote(bought)
    await loyalty.hear(paid(bought, await till.hold(bought, 30)))
    left = {}
    for day in (0, 1, 164, 165, 264, 265, 364, 365):
        loyalty.use_clock(lambda at=NOW + day * DAY: at)  # type: ignore[misc]
        await loyalty.expire()
        left[day] = (await shown(api, customer_id))["balance"]

    assert left == {0: 168, 1: 148, 164: 148, 165: 98, 264: 98, 265: 48, 364: 48, 365: 0}
    assert await loyalty.differences() == []


@pytest.mark.parametrize(("again", "earned"), [(False, 20), (True, 50)])
async def test_no_points_are_earned_on_the_part_paid_with_points_unless_the_terms_chose_so(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till, again: bool, earned: int
) -> None:
    await loyalty.set_terms(earns_on_part_paid_with_points=again)
    number, customer_id = await rich(loyalty, api, 600)
    bought = purchase(number, 60_000, 40_000)
    await till.quote(bought)
    await loyalty.hear(paid(bought, await till.hold(bought, 600)))

    assert (await shown(api, customer_id))["balance"] == earned
    lines = (await api.get(f"/purchases/{bought.receipt_id}")).json()["lines"]
    assert [line["points_paid"] for line in lines] == [360, 240]
    assert sum(line["points"] for line in lines) == earned
