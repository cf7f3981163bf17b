"""Returns of what was paid with points: they go back to the lots that they came from, with their dates."""

from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.customers import CustomersMerged, CustomersUnmerged
from contracts.loyalty import OperationReversed, PointsRefunded, PointsReturned
from contracts.purchases import PurchaseCompleted
from services.loyalty.lots import Moved, back_to, moved
from tests.services.loyalty.tills import Till, paid, shown, with_key
from tests.services.loyalty.world import NOW, Loyalty, adjust, came_back, cancelled, card, post, purchase

DAY = timedelta(days=1)


async def bought_with_points(
    loyalty: Loyalty, api: httpx.AsyncClient, points: int, *totals_minor: int, lots: tuple[tuple[int, int], ...]
) -> tuple[UUID, PurchaseCompleted]:
    """A purchase paid with so many points by a customer who had these lots (points, days to live)."""
    number = card()
    customer_id = await loyalty.knows(number)
    for amount, days in lots:
        await adjust(api, customer_id, amount, expires_at=(NOW + days * DAY).isoformat())
    till = Till(api, await with_key(api))
    bought = purchase(number, *totals_minor)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, points))
    await loyalty.hear(complete)
    return customer_id, complete


async def lots(loyalty: Loyalty) -> list[tuple[int, int]]:
    """What is left in lots that live for at most a hundred days: points and days."""
    rows = await loyalty.rows(
        "SELECT remaining, expires_at FROM lots WHERE expires_at < :soon ORDER BY expires_at", soon=NOW + 100 * DAY
    )
    return [(row.remaining, (row.expires_at - NOW).days) for row in rows if row.remaining]


async def test_points_paid_go_back_to_their_lots_with_their_dates(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id, bought = await bought_with_points(loyalty, api, 60, 100_000, lots=((50, 10), (50, 20)))
    assert await lots(loyalty) == [(40, 20)]
    await loyalty.hear(came_back(bought, {1: 100_000}))

    assert await lots(loyalty) == [(50, 10), (50, 20)]
    (refunded,) = await loyalty.said(PointsRefunded)
    assert (refunded.points, refunded.burned, refunded.balance_after) == (60, 0, 147)
    (returned,) = await loyalty.said(PointsReturned)
    assert (returned.points, returned.refunded, returned.available_after) == (47, 60, 100)
    assert (await shown(api, customer_id))["balance"] == 100
    (back,) = (await api.get(f"/purchases/{bought.receipt_id}")).json()["returns"]
    assert (back["points"], back["refunded"], back["refund_burned"]) == (47, 60, 0)
    assert await loyalty.differences() == []


@pytest.mark.parametrize("order", list(permutations([(1, 33_333), (1, 66_667), (2, 14_000)])))
async def test_partial_returns_in_any_order_equal_one_full_return(
    loyalty: Loyalty, api: httpx.AsyncClient, order: list[tuple[int, int]]
) -> None:
    customer_id, bought = await bought_with_points(loyalty, api, 61, 100_000, 14_000, lots=((50, 10), (50, 20)))
    for line_no, money in order:
        await loyalty.hear(came_back(bought, {line_no: money}))
    assert (await shown(api, customer_id))["balance"] == 100
    assert await lots(loyalty) == [(50, 10), (50, 20)]
    assert sum(each.points for each in await loyalty.said(PointsRefunded)) == 61
    assert await loyalty.differences() == []


async def test_a_cancellation_refunds_what_returns_have_left(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id, bought = await bought_with_points(loyalty, api, 61, 100_000, 14_000, lots=((100, 10),))
    await loyalty.hear(came_back(bought, {1: 10_000}))
    await loyalty.hear(cancelled(bought), cancelled(bought))
    assert (await shown(api, customer_id))["balance"] == 100
    assert await loyalty.differences() == []


@pytest.mark.parametrize(("days", "balance", "told"), [(30, 100, (60, 0)), (None, 50, (10, 50))])
async def test_points_whose_time_ended_meanwhile_are_revived_or_stay_burned_as_the_terms_say(
    loyalty: Loyalty, api: httpx.AsyncClient, days: int | None, balance: int, told: tuple[int, int]
) -> None:
    await loyalty.set_terms(refund_revives_days=days)
    customer_id, bought = await bought_with_points(loyalty, api, 60, 100_000, lots=((50, 10), (50, 20)))
    await loyalty.rows("UPDATE lots SET expires_at = :now WHERE expires_at < :soon", now=NOW, soon=NOW + 15 * DAY)
    await loyalty.hear(came_back(bought, {1: 100_000}))

    (refunded,) = await loyalty.said(PointsRefunded)
    assert (refunded.points, refunded.burned) == told
    (returned,) = await loyalty.said(PointsReturned)
    assert (returned.refunded, returned.refund_burned) == told
    assert (await shown(api, customer_id))["balance"] == balance
    assert await lots(loyalty) == ([(50, 20), (50, 30)] if days else [(50, 20)])
    await loyalty.expire()
    assert (await shown(api, customer_id))["balance"] == balance
    assert await loyalty.differences() == []


async def test_points_come_back_to_lots_that_live_on_with_the_survivor_of_a_merge(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.set_terms(lot_life_days=100, lots_live_on_with_activity=True, refund_revives_days=None)
    customer_id, bought = await bought_with_points(loyalty, api, 60, 100_000, lots=((100, 10),))
    number = card()
    survivor_id = await loyalty.knows(number)
    await loyalty.hear(CustomersMerged(customer_id=survivor_id, merged_id=customer_id, merged_at=NOW))
    loyalty.use_clock(lambda: NOW + 50 * DAY)
    await loyalty.hear(purchase(number, 1_000, completed_at=NOW + 50 * DAY))
    loyalty.use_clock(lambda: NOW + 120 * DAY)
    await loyalty.hear(came_back(bought, {1: 100_000}))

    (refunded,) = await loyalty.said(PointsRefunded)
    assert (refunded.points, refunded.burned) == (60, 0)
    assert await loyalty.differences() == []


async def test_what_was_spent_already_is_owed_where_the_terms_say_so_and_the_next_accruals_pay(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.set_terms(returned_but_spent="debt")
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000)
    await loyalty.hear(bought)
    await adjust(api, customer_id, -30)
    await loyalty.hear(came_back(bought, {1: 100_000}))
    assert await shown(api, customer_id) == {"balance": -30, "available": 0, "held": 0, "debt": 30}
    (returned,) = await loyalty.said(PointsReturned)
    assert (returned.points, returned.owed, returned.written_off, returned.balance_after) == (50, 30, 0, -30)

    await loyalty.hear(purchase(number, 40_000))
    assert await shown(api, customer_id) == {"balance": -10, "available": 0, "held": 0, "debt": 10}
    await adjust(api, customer_id, 25)
    assert await shown(api, customer_id) == {"balance": 15, "available": 15, "held": 0, "debt": 0}
    assert await loyalty.differences() == []


async def test_a_debt_leaves_other_points_that_are_there_to_be_taken_first(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.set_terms(returned_but_spent="debt")
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000)
    await loyalty.hear(bought)
    await adjust(api, customer_id, -30)
    await adjust(api, customer_id, 20)
    await loyalty.hear(came_back(bought, {1: 100_000}))
    assert await shown(api, customer_id) == {"balance": -10, "available": 0, "held": 0, "debt": 10}
    assert await loyalty.differences() == []


async def owing(loyalty: Loyalty, api: httpx.AsyncClient, customer_id: UUID, number: str, points: int) -> None:
    """The customer owes so many points, and has none: goods came back whose points were spent."""
    await loyalty.set_terms(returned_but_spent="debt")
    earning = purchase(number, 0, points * 2_000)
    await loyalty.hear(earning)
    await adjust(api, customer_id, -(await shown(api, customer_id))["available"])
    await loyalty.hear(came_back(earning, {2: points * 2_000}))
    assert (await shown(api, customer_id))["debt"] == points


@pytest.mark.parametrize("parts", [[100_000], [20_000, 30_000, 50_000], [90_000, 10_000]])
async def test_points_that_come_back_pay_what_is_owed_first(
    loyalty: Loyalty, api: httpx.AsyncClient, parts: list[int]
) -> None:
    await loyalty.set_terms(not_earning={"products": ["p1"]})
    customer_id, bought = await bought_with_points(loyalty, api, 60, 100_000, lots=((50, 10), (10, 20)))
    assert bought.card_number is not None
    await owing(loyalty, api, customer_id, bought.card_number, 25)
    for money in parts:
        await loyalty.hear(came_back(bought, {1: money}))

    assert await shown(api, customer_id) == {"balance": 35, "available": 35, "held": 0, "debt": 0}
    assert await lots(loyalty) == [(35, 10)]
    refunds = await loyalty.said(PointsRefunded)
    assert sum(each.points for each in refunds) == 60
    assert sum(each.debt_paid or 0 for each in refunds) == 25
    returned = (await loyalty.said(PointsReturned))[-len(parts) :]
    assert [each.refund_debt_paid for each in returned] == [each.debt_paid for each in refunds]
    assert (refunds[-1].balance_after, refunds[-1].available_after) == (35, 35)
    assert await loyalty.differences() == []


async def test_points_that_come_back_and_live_again_pay_what_is_owed_first(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.set_terms(not_earning={"products": ["p1"]})
    customer_id, bought = await bought_with_points(loyalty, api, 60, 100_000, lots=((10, 10), (50, 20)))
    assert bought.card_number is not None
    await owing(loyalty, api, customer_id, bought.card_number, 25)
    await loyalty.rows("UPDATE lots SET expires_at = :now WHERE expires_at < :soon", now=NOW, soon=NOW + 15 * DAY)
    await loyalty.hear(came_back(bought, {1: 100_000}))

    assert await shown(api, customer_id) == {"balance": 35, "available": 35, "held": 0, "debt": 0}
    assert await lots(loyalty) == [(35, 20)]
    assert await loyalty.differences() == []


async def test_what_paid_a_debt_of_the_survivors_goes_back_when_their_merge_is_undone(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.set_terms(not_earning={"products": ["p1"]})
    other, bought = await bought_with_points(loyalty, api, 60, 100_000, lots=((50, 10), (50, 20)))
    number = card()
    anna = await loyalty.knows(number)
    await loyalty.hear(CustomersMerged(customer_id=anna, merged_id=other, merged_at=NOW))
    await owing(loyalty, api, anna, number, 25)
    await loyalty.hear(came_back(bought, {1: 100_000}))
    assert await shown(api, anna) == {"balance": 35, "available": 35, "held": 0, "debt": 0}
    await adjust(api, anna, 65)
    await loyalty.hear(CustomersUnmerged(customer_id=anna, merged_id=other, unmerged_at=NOW + DAY))

    assert await loyalty.refused() == []
    assert [await loyalty.balance(each) for each in (other, anna)] == [100, 0]
    assert await loyalty.differences() == []


async def test_a_deduction_that_is_reversed_pays_what_is_owed_first(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await adjust(api, customer_id, 50, expires_at=(NOW + 10 * DAY).isoformat())
    await adjust(api, customer_id, 10, expires_at=(NOW + 20 * DAY).isoformat())
    taken = await adjust(api, customer_id, -60)
    await owing(loyalty, api, customer_id, number, 25)
    for points in (20, 30, 10):
        answer = await post(api, f"/operations/{taken['id']}/reversal", points=points)
        assert answer.status_code == 201, answer.text

    assert await shown(api, customer_id) == {"balance": 35, "available": 35, "held": 0, "debt": 0}
    assert await lots(loyalty) == [(35, 10)]
    assert [each.debt_paid for each in await loyalty.said(OperationReversed)] == [20, 5, None]
    assert await loyalty.differences() == []


taken_lots = st.lists(st.integers(1, 100), min_size=1, max_size=6).map(
    lambda taken: [Moved(UUID(int=place), -points, NOW + place * DAY, False) for place, points in enumerate(taken, 1)]
)


@given(taken_lots, st.data())
def test_partial_ways_back_fill_the_lots_as_one_full_one_does(taken: list[Moved], data: Any) -> None:
    whole = -sum(each.points for each in taken)
    before = 0
    filled: dict[UUID, int] = {}
    while before < whole:
        points = data.draw(st.integers(1, whole - before))
        movements = back_to(taken, before, points)
        assert moved(movements) == points
        for each in movements:
            filled[each.lot] = filled.get(each.lot, 0) + each.points
        before += points
    assert filled == {each.lot: -each.points for each in taken}
