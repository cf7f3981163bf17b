"""Returns and cancellations on the real PostgreSQL: exactly what those lines had earned, in any order."""

from itertools import pairwise

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.ids import new_id
from contracts.loyalty import PointsReturned
from services.loyalty.pricing import split
from services.loyalty.purchases import KnownPurchase, Line
from services.loyalty.returns import decide
from tests.services.loyalty.world import Loyalty, came_back, cancelled, card, purchase


async def test_a_return_takes_back_only_what_those_lines_earned(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000, 14_000)
    await loyalty.hear(bought)
    await loyalty.hear(came_back(bought, {2: 14_000}))
    (returned,) = await loyalty.said(PointsReturned)
    assert (returned.points, returned.balance_after, returned.cause) == (7, 50, "return")
    assert await loyalty.balance(customer_id) == 50
    assert await loyalty.differences() == []


async def test_a_return_says_where_the_goods_came_back(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    await loyalty.knows(number)
    bought = purchase(number, 100_000, 14_000)
    await loyalty.hear(bought)
    await loyalty.hear(came_back(bought, {2: 14_000}, store_id="400", terminal_id="400-2"))
    await loyalty.hear(cancelled(bought))

    shown = (await api.get(f"/purchases/{bought.receipt_id}")).json()
    assert (shown["store_id"], shown["terminal_id"]) == ("367", "367-1")
    assert [(each["store_id"], each["terminal_id"]) for each in shown["returns"]] == [
        ("400", "400-2"),
        ("367", "367-1"),
    ]
    said = await loyalty.said(PointsReturned)
    assert [(each.store_id, each.terminal_id) for each in said] == [("400", "400-2"), ("367", "367-1")]


async def test_a_return_that_comes_again_takes_nothing_more(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 114_000)
    back = came_back(bought, {1: 57_000})
    await loyalty.hear(bought)
    await loyalty.hear(back, back)
    await loyalty.hear(back)
    assert await loyalty.balance(customer_id) == 57 - 28
    assert await loyalty.refused() == []


async def test_a_return_before_its_purchase_waits_for_it(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 114_000)
    await loyalty.hear(came_back(bought, {1: 114_000}))
    assert await loyalty.said(PointsReturned) == []
    await loyalty.hear(bought)
    assert await loyalty.balance(customer_id) == 0
    assert len(await loyalty.said(PointsReturned)) == 1
    assert await loyalty.differences() == []


async def test_a_cancellation_takes_back_what_returns_have_left(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000, 14_000)
    await loyalty.hear(bought)
    await loyalty.hear(came_back(bought, {1: 33_333}))
    await loyalty.hear(cancelled(bought), cancelled(bought))
    assert await loyalty.balance(customer_id) == 0
    assert [each.cause for each in await loyalty.said(PointsReturned)] == ["return", "cancellation"]
    (row,) = await loyalty.rows("SELECT state FROM purchases")
    assert row.state == "cancelled"


async def test_impossible_returns_are_refused_with_their_reasons(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought, other = purchase(number, 114_000), purchase(number, 2_000)
    await loyalty.hear(bought, other)
    await loyalty.hear(came_back(bought, {1: 114_001}))
    await loyalty.hear(came_back(bought, {2: 1}))
    await loyalty.hear(came_back(bought, {1: 1}, currency="EUR"))
    await loyalty.hear(came_back(bought, {1: 1}, return_id="once"))
    await loyalty.hear(came_back(bought, {1: 2}, return_id="once"))
    await loyalty.hear(came_back(other, {1: 2}, return_id="once"))
    await loyalty.hear(cancelled(other))
    await loyalty.hear(came_back(other, {1: 1}))
    assert await loyalty.refused() == [
        "returned_too_much",
        "unknown_line",
        "currency_differs",
        "return_conflict",
        "return_conflict",
        "purchase_cancelled",
    ]
    assert await loyalty.balance(customer_id) == 57
    assert await loyalty.differences() == []


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_any_partial_returns_in_any_order_equal_one_full_return(data: st.DataObject) -> None:
    totals = data.draw(st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
    points = data.draw(st.integers(0, 10**5))
    bought = purchase("4000", *totals)
    known = _known(bought.receipt_id, totals, points)
    pieces = data.draw(st.permutations([piece for line in _pieces(data, totals) for piece in line]))
    before: dict[int, int] = {}
    taken = refunded = 0
    for line_no, money in pieces:
        step = decide(known, came_back(bought, {line_no: money}), before)
        assert step.points >= 0
        assert step.refunded_before == refunded
        taken += step.points
        refunded += step.refund
        before[line_no] = before.get(line_no, 0) + money
    assert (taken, refunded) == (points, points)
    assert step.state == "returned"


def _pieces(data: st.DataObject, totals: list[int]) -> list[list[tuple[int, int]]]:
    """Each line's total, cut at random places."""
    lines = []
    for line_no, total in enumerate(totals, 1):
        cuts = sorted({0, total, *data.draw(st.lists(st.integers(0, total), max_size=3))})
        lines.append([(line_no, high - low) for low, high in pairwise(cuts)])
    return lines


def _known(receipt_id: str, totals: list[int], points: int) -> KnownPurchase:
    some = new_id()
    earned = split(points, totals)
    assert sum(earned) == points
    lines = tuple(
        Line(line_no, "p", None, "1", total, of_line, 0, of_line)
        for line_no, (total, of_line) in enumerate(zip(totals, earned, strict=True), 1)
    )
    return KnownPurchase(
        receipt_id, "completed", some, some, some, "367", "RUB", sum(totals), points, None, some, lines
    )


async def test_what_waited_for_a_card_is_handled_in_the_order_it_came(loyalty: Loyalty) -> None:
    levels = [
        {"code": "base", "spent_minor_from": 0, "rate_basis_points": 500},
        {"code": "gold", "spent_minor_from": 100_000, "rate_basis_points": 1_000},
    ]
    await loyalty.set_terms(levels=levels)
    number = card()
    bought = purchase(number, 100_000)
    await loyalty.hear(bought)
    await loyalty.hear(came_back(bought, {1: 100_000}))
    await loyalty.hear(purchase(number, 20_000))
    customer_id = await loyalty.knows(number)
    assert await loyalty.balance(customer_id) == 10
    assert await loyalty.differences() == []
