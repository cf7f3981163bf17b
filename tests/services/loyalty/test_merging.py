"""Merges: what the one had is the other's, exactly; undone, it is as if it had never been."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from chassis.ids import new_id
from contracts.customers import Card, CustomersMerged, CustomersUnmerged
from contracts.loyalty import Balance, PointsAccrued, PointsMoved, PointsReturned
from tests.services.loyalty.tills import Till, paid, shown, with_key
from tests.services.loyalty.world import NOW, Loyalty, adjust, came_back, cancelled, card, post, purchase

HOUR = timedelta(hours=1)


def merged(customer_id: UUID, merged_id: UUID, at: datetime = NOW) -> CustomersMerged:
    return CustomersMerged(customer_id=customer_id, merged_id=merged_id, merged_at=at)


def unmerged(customer_id: UUID, merged_id: UUID, at: datetime = NOW + HOUR) -> CustomersUnmerged:
    return CustomersUnmerged(customer_id=customer_id, merged_id=merged_id, unmerged_at=at)


async def state(loyalty: Loyalty, customer_id: UUID) -> Any:
    """Everything that a merge moves: figures and lots with their dates."""
    (account,) = await loyalty.rows(
        "SELECT id, balance, pending, held, debt, spent_minor, merged_into FROM accounts WHERE customer_id = :id",
        id=customer_id,
    )
    lots = await loyalty.rows(
        "SELECT operation_id, remaining, pending, activates_at, expires_at FROM lots "
        "WHERE account_id = :id AND remaining > 0 ORDER BY 1",
        id=account.id,
    )
    return [tuple(account), [tuple(lot) for lot in lots]]


async def two(loyalty: Loyalty, api: httpx.AsyncClient) -> tuple[tuple[str, UUID], tuple[str, UUID]]:
    """Two customers with cards and points, one of whom is the other."""
    people = []
    for points in (100, 40):
        number = card()
        customer_id = await loyalty.knows(number)
        await loyalty.hear(purchase(number, 20_000))
        await adjust(api, customer_id, points, expires_at=(NOW + points * HOUR).isoformat())
        await adjust(api, customer_id, 5, activates_at=(NOW + HOUR).isoformat())
        people.append((number, customer_id))
    return people[0], people[1]


async def test_a_merge_moves_points_with_their_dates_spending_and_cards(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, anna), (other_card, other) = await two(loyalty, api)
    before = (await state(loyalty, anna))[1] + (await state(loyalty, other))[1]
    await loyalty.hear(merged(anna, other))

    after = await state(loyalty, anna)
    assert sorted(after[1]) == sorted(before)
    assert after[0][1:6] == (170, 10, 0, 0, 40_000)
    assert (await state(loyalty, other))[1] == []
    assert [(each.points, each.cause) for each in await loyalty.said(PointsMoved)] == [(-55, "merge"), (55, "merge")]
    newest = {each.customer_id: each.balances[0].available for each in await loyalty.said(Balance)}
    assert newest == {anna: 160, other: 0}
    await loyalty.hear(purchase(other_card, 20_000))
    assert (await loyalty.said(PointsAccrued))[-1].customer_id == anna
    assert await loyalty.differences() == []


async def test_a_merge_undone_leaves_everything_as_it_was(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    (_, anna), (other_card, other) = await two(loyalty, api)
    before = [await state(loyalty, anna), await state(loyalty, other)]
    await loyalty.hear(merged(anna, other))
    await loyalty.hear(unmerged(anna, other))
    assert [await state(loyalty, anna), await state(loyalty, other)] == before
    await loyalty.hear(purchase(other_card, 20_000))
    assert (await loyalty.said(PointsAccrued))[-1].customer_id == other
    assert await loyalty.differences() == []


async def test_what_the_survivor_spent_of_the_other_ones_points_is_paid_from_their_own(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, anna), (_, other) = await two(loyalty, api)
    before = await state(loyalty, other)
    await loyalty.hear(merged(anna, other))
    await adjust(api, anna, -45)
    await loyalty.hear(unmerged(anna, other))
    assert await state(loyalty, other) == before
    assert (await shown(api, anna))["balance"] == 115 - 45
    assert await loyalty.differences() == []


async def test_a_merge_is_kept_where_more_than_ones_own_is_spent_and_says_how_much_is_missing(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, anna), (_, other) = await two(loyalty, api)
    await loyalty.hear(merged(anna, other))
    await adjust(api, anna, -160)
    undo = unmerged(anna, other)
    await loyalty.hear(undo)
    assert await loyalty.refused() == ["merge_spent"]
    (letter,) = await loyalty.rows("SELECT detail FROM dead_letters")
    assert "45 points more" in letter.detail
    assert (await shown(api, anna))["balance"] == 10
    await adjust(api, anna, 45)
    await loyalty.hear(undo)
    assert (await shown(api, other))["balance"] == 55
    assert await loyalty.differences() == []


async def test_a_return_of_what_the_merged_one_bought_is_theirs_when_the_merge_is_undone(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = card()
    other = await loyalty.knows(number)
    anna = await loyalty.knows(card())
    bought = purchase(number, 100_000, 20_000)
    await loyalty.hear(bought)
    await loyalty.hear(merged(anna, other))
    await loyalty.hear(came_back(bought, {1: 100_000}))
    assert (await shown(api, anna))["balance"] == 10
    await loyalty.hear(unmerged(anna, other))
    assert [(await shown(api, each))["balance"] for each in (anna, other)] == [0, 10]
    assert (await state(loyalty, other))[0][5] == 20_000
    assert await loyalty.differences() == []


async def test_points_that_were_paid_before_the_merge_come_back_to_the_survivor_and_go_back_with_the_undoing(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = card()
    other = await loyalty.knows(number)
    anna = await loyalty.knows(card())
    await adjust(api, other, 60)
    till = Till(api, await with_key(api))
    bought = purchase(number, 100_000)
    await till.quote(bought)
    await loyalty.hear(paid(bought, await till.hold(bought, 60)))
    await loyalty.hear(merged(anna, other))
    await loyalty.hear(came_back(bought, {1: 100_000}))
    assert (await shown(api, anna))["balance"] == 60
    await loyalty.hear(unmerged(anna, other))
    assert [(await shown(api, each))["balance"] for each in (anna, other)] == [0, 60]
    assert await loyalty.differences() == []


async def test_points_held_by_the_merged_one_are_given_back_first_and_captured_from_the_survivor(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = card()
    other = await loyalty.knows(number)
    anna = await loyalty.knows(card())
    await adjust(api, other, 60)
    till = Till(api, await with_key(api))
    bought = purchase(number, 100_000)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, 50))
    await loyalty.hear(merged(anna, other))
    assert await shown(api, anna) == {"balance": 60, "available": 60, "held": 0, "debt": 0}
    await loyalty.hear(complete)
    assert (await shown(api, anna))["balance"] == 10 + 47
    assert await loyalty.differences() == []


async def test_a_debt_moves_with_the_merge_and_back(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await loyalty.set_terms(returned_but_spent="debt")
    number = card()
    other = await loyalty.knows(number)
    anna = await loyalty.knows(card())
    bought = purchase(number, 100_000)
    await loyalty.hear(bought)
    await adjust(api, other, -50)
    await loyalty.hear(came_back(bought, {1: 100_000}))
    await adjust(api, anna, 20)
    await loyalty.hear(merged(anna, other))
    assert await shown(api, anna) == {"balance": -30, "available": 0, "held": 0, "debt": 50}
    await loyalty.hear(unmerged(anna, other))
    assert await shown(api, anna) == {"balance": 20, "available": 20, "held": 0, "debt": 0}
    assert await shown_debt(loyalty, other) == 50
    assert await loyalty.differences() == []


async def shown_debt(loyalty: Loyalty, customer_id: UUID) -> int:
    return int((await state(loyalty, customer_id))[0][4])


async def test_merges_that_come_again_or_late_change_nothing(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    (_, anna), (_, other) = await two(loyalty, api)
    await loyalty.hear(merged(anna, other), merged(anna, other))
    assert len(await loyalty.said(PointsMoved)) == 2
    await loyalty.hear(unmerged(anna, other), unmerged(anna, other))
    await loyalty.hear(merged(anna, other))
    assert len(await loyalty.said(PointsMoved)) == 4
    await loyalty.hear(merged(anna, other, NOW + 2 * HOUR))
    assert (await shown(api, anna))["balance"] == 170
    await loyalty.hear(unmerged(anna, other, NOW + 3 * HOUR))
    assert (await shown(api, anna))["balance"] == 115
    assert await loyalty.differences() == []


async def test_customers_whom_loyalty_does_not_know_yet_are_merged_all_the_same(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    anna, other = new_id(), new_id()
    await loyalty.hear(merged(anna, other))
    number = card()
    await loyalty.hear(Card(card_number=number, customer_id=other))
    await loyalty.hear(purchase(number, 20_000))
    assert (await shown(api, anna))["balance"] == 10


async def test_a_merge_into_somebody_who_is_merged_is_refused(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    (_, anna), (_, other) = await two(loyalty, api)
    third = await loyalty.knows(card())
    await loyalty.hear(merged(anna, other))
    await loyalty.hear(merged(other, third, NOW + HOUR))
    assert await loyalty.refused() == ["survivor_merged"]


@pytest.mark.parametrize("chain", ["merged later", "merged before"])
async def test_merges_of_merges_are_undone_in_their_order(loyalty: Loyalty, api: httpx.AsyncClient, chain: str) -> None:
    (_, anna), (other_card, other) = await two(loyalty, api)
    third = await loyalty.knows(card())
    await loyalty.hear(merged(anna, other), merged(third, anna, NOW + HOUR))
    assert (await shown(api, third))["balance"] == 170
    await loyalty.hear(purchase(other_card, 20_000))
    assert (await shown(api, third))["balance"] == 180
    if chain == "merged before":
        await loyalty.hear(unmerged(anna, other, NOW + 2 * HOUR))
        assert await loyalty.refused() == ["survivor_merged"]
        return
    await loyalty.hear(unmerged(third, anna, NOW + 2 * HOUR))
    await loyalty.hear(unmerged(anna, other, NOW + 3 * HOUR))
    assert [(await shown(api, each))["balance"] for each in (third, anna, other)] == [10, 115, 55]
    assert await loyalty.differences() == []


async def test_a_merge_is_undone_once(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    (_, anna), (_, other) = await two(loyalty, api)
    await loyalty.hear(merged(anna, other))
    await loyalty.hear(unmerged(anna, other), unmerged(anna, other, NOW + 2 * HOUR))
    assert [(await shown(api, each))["balance"] for each in (anna, other)] == [115, 55]
    assert len(await loyalty.said(PointsMoved)) == 4
    assert await loyalty.refused() == []


async def test_who_buys_is_the_survivor_whichever_record_the_card_names(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, anna), (others_card, other) = await two(loyalty, api)
    holder = await loyalty.knows(card())
    before = purchase(others_card, 20_000)
    await loyalty.hear(before)
    await loyalty.hear(merged(anna, other))
    alone = purchase(others_card, 20_000)
    await loyalty.hear(alone)
    await post(api, f"/customers/{holder}/members/{anna}", reason=None)
    in_family = purchase(others_card, 20_000)
    await loyalty.hear(in_family)

    await loyalty.hear(*(cancelled(each) for each in (before, alone, in_family)))

    accrued = [(each.customer_id, each.buyer_id) for each in await loyalty.said(PointsAccrued)]
    assert accrued[-3:] == [(other, None), (anna, None), (holder, anna)]
    returned = [(each.customer_id, each.buyer_id) for each in await loyalty.said(PointsReturned)]
    assert returned == [(anna, None), (anna, None), (holder, anna)]
    found = await api.get("/purchases", params={"card_number": others_card})
    assert len(found.json()["items"]) == 4
