"""Histories in which several things meet: each was told wrong once."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from contracts.customers import CustomerBlocked, CustomersMerged, CustomersUnmerged
from contracts.holds import HoldReleased
from contracts.loyalty import PointsAccrued, PointsRedeemed, PointsReturned
from services.loyalty.holds import release_timed_out
from tests.services.loyalty.test_accounts import FUEL, LITRES, MAIN, POINTS, STATIONS
from tests.services.loyalty.tills import Till, paid, rich, shown
from tests.services.loyalty.world import NOW, OLGA, Loyalty, adjust, came_back, card, post, purchase

DAY = timedelta(days=1)


def merged(survivor: UUID, other: UUID, at: datetime = NOW) -> CustomersMerged:
    return CustomersMerged(customer_id=survivor, merged_id=other, merged_at=at)


def unmerged(survivor: UUID, other: UUID, at: datetime = NOW + DAY) -> CustomersUnmerged:
    return CustomersUnmerged(customer_id=survivor, merged_id=other, unmerged_at=at)


async def shares(api: httpx.AsyncClient, holder: UUID, member: UUID) -> None:
    answer = await post(api, f"/customers/{holder}/members/{member}", reason=None)
    assert answer.status_code == 201, answer.text


async def leaves(api: httpx.AsyncClient, holder: UUID, member: UUID) -> None:
    headers = {"Idempotency-Key": str(member), **OLGA}
    answer = await api.delete(f"/customers/{holder}/members/{member}", headers=headers)
    assert answer.status_code == 204, answer.text


async def balances(loyalty: Loyalty, *customers: UUID) -> list[int]:
    return [await loyalty.balance(each) for each in customers]


async def holder(api: httpx.AsyncClient, customer_id: UUID) -> str:
    return str((await api.get(f"/customers/{customer_id}/balance")).json()["holder_id"])


# --- holds ---


async def test_a_purchase_with_another_customers_card_pays_with_theirs_and_leaves_the_hold_to_time_out(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, anna = await rich(loyalty, api, 60)
    other_number, other = await rich(loyalty, api, 20)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await loyalty.hear(paid(bought, hold).model_copy(update={"card_number": other_number}))

    (redeemed,) = await loyalty.said(PointsRedeemed)
    assert (redeemed.customer_id, redeemed.points, redeemed.missing) == (other, 20, 40)
    assert (await shown(api, anna))["held"] == 60
    loyalty.use_clock(lambda: NOW + DAY)
    async with loyalty.database.transaction() as tx:
        await release_timed_out(tx)
    assert (await shown(api, anna))["available"] == 60
    assert (await api.get(f"/purchases/{bought.receipt_id}")).json()["state"] == "completed"
    assert await loyalty.differences() == []


async def test_a_refused_purchase_leaves_its_hold_as_it_is(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, anna = await rich(loyalty, api, 60)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await loyalty.hear(bought.model_copy(update={"hold_id": anna}))

    assert await loyalty.refused() == ["unknown_hold"]
    assert (await shown(api, anna))["held"] == 60
    await loyalty.hear(paid(bought, hold))
    assert (await shown(api, anna))["balance"] == 47
    assert await loyalty.differences() == []


async def test_points_that_a_family_holds_for_who_is_merged_away_are_given_back(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, anna = await rich(loyalty, api, 5)
    (_, family), (_, survivor) = [await rich(loyalty, api, 60) for _ in range(2)]
    await shares(api, family, anna)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, 60))
    await loyalty.hear(merged(survivor, anna))
    assert [each.because for each in await loyalty.said(HoldReleased)] == ["accounts_changed"]
    await loyalty.hear(complete)

    assert await balances(loyalty, family, survivor) == [60, 65 - 60 + 47]
    assert await loyalty.differences() == []


async def test_points_held_while_customers_were_one_are_given_back_when_they_are_two(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    (number, anna), (_, survivor) = await rich(loyalty, api, 40), await rich(loyalty, api, 60)
    await loyalty.hear(merged(survivor, anna))
    bought = purchase(number, 200_000)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, 100))
    await loyalty.hear(unmerged(survivor, anna))
    assert await balances(loyalty, survivor, anna) == [60, 40]
    await loyalty.hear(complete)

    assert await balances(loyalty, survivor, anna) == [60, 95]
    assert await loyalty.differences() == []


# --- merges ---


async def test_with_the_card_of_who_is_part_of_a_blocked_customer_nothing_is_earned_in_their_family_either(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (number, anna), (_, survivor), (_, family) = [await rich(loyalty, api, 60) for _ in range(3)]
    await loyalty.hear(merged(survivor, anna))
    await shares(api, family, survivor)
    await loyalty.hear(CustomerBlocked(customer_id=survivor, blocked_at=NOW, reason="suspected_fraud"))
    await loyalty.hear(purchase(number, 100_000))

    (accrued,) = await loyalty.said(PointsAccrued)
    assert (accrued.points, accrued.withheld) == (0, "account_frozen")
    assert (accrued.customer_id, accrued.buyer_id) == (family, survivor)


async def test_a_merge_that_comes_again_after_its_survivor_was_merged_changes_nothing(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, anna), (_, other), (_, third) = [await rich(loyalty, api, 10) for _ in range(3)]
    await loyalty.hear(merged(anna, other), merged(third, anna, NOW + DAY))
    await loyalty.hear(merged(anna, other))
    assert await loyalty.refused() == []
    assert await loyalty.balance(third) == 30


async def test_who_is_part_of_somebody_is_merged_into_nobody_else(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    (_, anna), (_, other), (_, third) = [await rich(loyalty, api, 10) for _ in range(3)]
    await loyalty.hear(merged(anna, other))
    again = merged(third, other, NOW + 2 * DAY)
    await loyalty.hear(again)
    assert await loyalty.refused() == ["merged_before"]
    await loyalty.hear(unmerged(anna, other), again)
    assert await balances(loyalty, anna, third) == [10, 20]
    assert await loyalty.differences() == []


async def test_a_merge_into_a_member_of_ones_own_family_says_what_to_do(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, anna), (_, other) = [await rich(loyalty, api, 10) for _ in range(2)]
    await shares(api, other, anna)
    await loyalty.hear(merged(anna, other))
    assert await loyalty.refused() == ["survivor_is_member"]
    await leaves(api, other, anna)
    await loyalty.hear(merged(anna, other))
    assert await loyalty.balance(anna) == 20


async def test_an_unmerge_takes_the_points_from_where_they_were_brought(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, anna), (_, other), (_, family) = [await rich(loyalty, api, points) for points in (1, 20, 300)]
    await shares(api, family, anna)
    await loyalty.hear(merged(anna, other))
    assert await balances(loyalty, anna, other, family) == [1, 0, 320]
    await leaves(api, family, anna)
    await loyalty.hear(unmerged(anna, other))
    assert await balances(loyalty, anna, other, family) == [1, 20, 300]
    assert await loyalty.differences() == []


async def test_who_was_merged_goes_along_into_a_family_and_out_of_it(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    (_, anna), (number, other), (_, family) = [await rich(loyalty, api, points) for points in (1, 20, 300)]
    await loyalty.hear(merged(anna, other))
    await shares(api, family, anna)
    await loyalty.hear(purchase(number, 20_000))
    assert (await loyalty.said(PointsAccrued))[-1].customer_id == family
    await leaves(api, family, anna)
    await loyalty.hear(purchase(number, 20_000))
    assert (await loyalty.said(PointsAccrued))[-1].customer_id == anna
    await loyalty.hear(unmerged(anna, other))
    assert await balances(loyalty, anna, other, family) == [11, 20, 310]


async def test_members_who_left_meanwhile_stay_where_they_are_when_a_merge_is_undone(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, anna), (_, other), (_, child), (_, family) = [await rich(loyalty, api, 10) for _ in range(4)]
    await shares(api, other, child)
    await loyalty.hear(merged(anna, other))
    assert await holder(api, child) == str(anna)
    await leaves(api, anna, child)
    await shares(api, family, child)
    await loyalty.hear(unmerged(anna, other))
    assert await holder(api, child) == str(family)


async def test_a_family_that_was_merged_meanwhile_is_found_when_a_merge_is_undone(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, anna), (number, other), (_, family), (_, third) = [await rich(loyalty, api, 10) for _ in range(4)]
    await shares(api, family, other)
    await loyalty.hear(merged(anna, other), merged(third, family), unmerged(anna, other))
    assert await holder(api, other) == str(third)
    await loyalty.hear(purchase(number, 20_000))
    assert await balances(loyalty, anna, other, third) == [10, 10, 30]


async def test_a_merge_into_a_family_that_was_merged_is_undone_after_that_one(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, anna), (number, other), (_, family), (_, third) = [await rich(loyalty, api, 10) for _ in range(4)]
    await shares(api, family, anna)
    await loyalty.hear(merged(anna, other), merged(third, family, NOW + DAY))
    undo = unmerged(anna, other, NOW + 3 * DAY)
    await loyalty.hear(undo)
    assert await loyalty.refused() == ["survivor_merged"]
    await loyalty.hear(unmerged(third, family, NOW + 2 * DAY), undo)
    await loyalty.hear(purchase(number, 20_000))
    assert await balances(loyalty, anna, other, family, third) == [10, 20, 10, 10]
    assert await loyalty.differences() == []


async def test_what_came_back_to_a_lot_that_was_given_back_is_merged_again(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    (_, anna), (number, survivor) = await rich(loyalty, api, 40), await rich(loyalty, api, 100)
    await loyalty.hear(merged(survivor, anna))
    bought = purchase(number, 200_000)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, 140))
    await loyalty.hear(complete)
    await adjust(api, survivor, 40)
    await loyalty.hear(unmerged(survivor, anna))
    await loyalty.hear(came_back(complete, {1: 200_000}))
    await loyalty.hear(merged(survivor, anna, NOW + 2 * DAY))

    assert await loyalty.refused() == []
    assert await loyalty.balance(survivor) == 100 + 40 + 40
    assert await loyalty.differences() == []


async def test_what_came_back_while_merges_were_nested_is_whose_it_was_when_they_are_undone(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = card()
    anna, other, third = await loyalty.knows(card()), await loyalty.knows(number), await loyalty.knows(card())
    bought = purchase(number, 100_000)
    await loyalty.hear(bought, merged(anna, other), merged(third, anna, NOW + DAY))
    await loyalty.hear(came_back(bought, {1: 50_000}))
    await loyalty.hear(unmerged(third, anna, NOW + 2 * DAY), unmerged(anna, other, NOW + 3 * DAY))

    assert await balances(loyalty, third, anna, other) == [0, 0, 25]
    spent = await loyalty.rows("SELECT customer_id, spent_minor FROM accounts")
    assert {row.customer_id: row.spent_minor for row in spent} == {third: 0, anna: 0, other: 50_000}
    assert await loyalty.differences() == []


# --- returns ---


async def test_a_return_takes_what_was_earned_and_spent_from_what_it_gives_back(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, anna = await rich(loyalty, api, 60)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, 60))
    await loyalty.hear(complete)
    await adjust(api, anna, -47)
    await loyalty.hear(came_back(complete, {1: 100_000}))

    (returned,) = await loyalty.said(PointsReturned)
    assert (returned.points, returned.written_off, returned.balance_after) == (47, 0, 13)
    assert await loyalty.balance(anna) == 60 - 47
    assert await loyalty.differences() == []


async def test_points_go_back_to_their_own_lots_though_their_order_has_changed_meanwhile(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    await loyalty.set_terms(lots_live_on_with_activity=True)
    number = card()
    anna = await loyalty.knows(number)
    late, soon = [await adjust(api, anna, 10, expires_at=(NOW + days * DAY).isoformat()) for days in (20, 10)]
    bought = purchase(number, 200_000)
    await till.quote(bought)
    complete = paid(bought, await till.hold(bought, 20))
    await loyalty.hear(complete)
    await loyalty.hear(came_back(complete, {1: 150_000}))
    await loyalty.hear(purchase(number, 20_000))
    await loyalty.hear(came_back(complete, {1: 50_000}))

    lots = {str(row.operation_id): row.remaining for row in await loyalty.rows("SELECT * FROM lots")}
    assert [lots[each["id"]] for each in (late, soon)] == [10, 10]
    assert await loyalty.differences() == []


# --- kinds of account ---


async def test_who_is_blocked_earns_nothing_on_an_account_that_is_opened_meanwhile(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    terms: dict[str, Any] = {"points_currencies": [POINTS, LITRES], "account_kinds": [MAIN, FUEL]}
    await loyalty.set_terms(**terms, establishments=[STATIONS])
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(CustomerBlocked(customer_id=customer_id, blocked_at=NOW, reason="suspected_fraud"))
    await loyalty.hear(purchase(number, 120_000, store_id="500"))

    (accrued,) = await loyalty.said(PointsAccrued)
    assert (accrued.points, accrued.withheld) == (0, "account_frozen")
    shown = (await api.get(f"/customers/{customer_id}/balance")).json()["accounts"]
    assert [each["frozen"]["reason"] for each in shown] == ["suspected_fraud"] * 2
