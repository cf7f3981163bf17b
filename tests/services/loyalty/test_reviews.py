"""Reviews: what broke a limit is decided once; the ledger takes back or credits after all, and a return not again."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from chassis.ids import new_id
from contracts.customers import CustomerBlocked, CustomersMerged, CustomersUnmerged
from contracts.limits import PointsCorrected, ReviewDecided
from contracts.loyalty import Balance, PointsAccrued, PointsReturned
from contracts.purchases import PurchaseCompleted
from tests.services.loyalty.test_limits import limit
from tests.services.loyalty.world import NOW, OLGA, Loyalty, adjust, came_back, cancelled, card, post, problem, purchase

LARGE = limit("card", "receipt_total_minor", 10_000)
HARD = {**LARGE, "hard": True}


async def bought(loyalty: Loyalty, *totals: int, limits: list[dict[str, Any]]) -> tuple[PurchaseCompleted, UUID]:
    """A purchase that breaks these limits, and its customer."""
    await loyalty.set_terms(limits=limits)
    number = card()
    customer_id = await loyalty.knows(number)
    large = purchase(number, *totals)
    await loyalty.hear(large)
    return large, customer_id


async def decide(api: httpx.AsyncClient, verdict: str, **asked: Any) -> httpx.Response:
    """The only open review, or the only one of these."""
    (review,) = (await api.get("/reviews", params={"state": "open", **asked})).json()["items"]
    return await post(api, f"/reviews/{review['id']}/{verdict}", reason="looked_into", comment="Asked the cashier.")


async def standing(api: httpx.AsyncClient, customer_id: UUID) -> tuple[int, int]:
    (account,) = (await api.get(f"/customers/{customer_id}/balance")).json()["accounts"]
    return account["balance"], account["spent_minor"]


async def test_a_rejected_purchase_loses_what_it_earned(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    large, customer_id = await bought(loyalty, 100_000, 14_000, limits=[LARGE])
    decided = await decide(api, "reject")

    assert decided.status_code == 200
    review = decided.json()
    assert (review["state"], review["decided_by"], review["reason"]) == ("rejected", "operator:olga", "looked_into")
    assert await standing(api, customer_id) == (0, 0)
    receipt = (await api.get(f"/purchases/{large.receipt_id}")).json()
    assert (receipt["points"], receipt["withheld"]) == (0, "limit_card_receipt_total_minor")
    assert [line["points"] for line in receipt["lines"]] == [0, 0]
    newest = (await api.get(f"/customers/{customer_id}/operations")).json()["items"][0]
    assert (newest["id"], newest["type"], newest["points"]) == (review["correction_id"], "review", -57)
    assert (newest["actor"], newest["comment"]) == ("operator:olga", "Asked the cashier.")
    (said,) = await loyalty.said(PointsCorrected)
    assert (said.points, said.balance_after, said.receipt_id) == (-57, 0, large.receipt_id)
    (verdict,) = await loyalty.said(ReviewDecided)
    assert (verdict.verdict, verdict.actor, verdict.key) == ("rejected", "operator:olga", str(customer_id))
    assert [(each.category, each.total_minor) for each in verdict.rejected_categories] == [("BREAD", 114_000)]
    assert "cashier" not in verdict.model_dump_json()
    assert (await loyalty.said(Balance))[-1].balances[0].available == 0
    assert await loyalty.differences() == []


async def test_a_return_after_a_rejection_takes_nothing_a_second_time(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    large, customer_id = await bought(loyalty, 100_000, 14_000, limits=[LARGE])
    await adjust(api, customer_id, 500)
    await decide(api, "reject")
    await loyalty.hear(came_back(large, {1: 60_000}), cancelled(large))

    assert [each.points for each in await loyalty.said(PointsReturned)] == [0, 0]
    assert await standing(api, customer_id) == (500, 0)
    assert await loyalty.differences() == []


async def test_a_rejection_takes_what_returns_have_left(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    large, customer_id = await bought(loyalty, 100_000, 14_000, limits=[LARGE])
    await adjust(api, customer_id, 500)
    await loyalty.hear(came_back(large, {1: 33_333, 2: 14_000}))
    await decide(api, "reject")
    await loyalty.hear(came_back(large, {1: 66_667}))

    assert [each.points for each in await loyalty.said(PointsReturned)] == [23, 0]
    assert [each.points for each in await loyalty.said(PointsCorrected)] == [-34]
    assert await standing(api, customer_id) == (500, 0)
    assert await loyalty.differences() == []


@pytest.mark.parametrize(
    ("way", "balance", "written_off", "owed"),
    [("other_lots", 0, 20, 0), ("write_off", 30, 50, 0), ("debt", -20, 0, 20)],
)
async def test_of_rejected_points_that_are_spent_the_terms_say_what_becomes(
    loyalty: Loyalty, api: httpx.AsyncClient, way: str, balance: int, written_off: int, owed: int
) -> None:
    await loyalty.set_terms(returned_but_spent=way)
    _, customer_id = await bought(loyalty, 100_000, limits=[LARGE])
    await adjust(api, customer_id, -50)
    await adjust(api, customer_id, 30)
    await decide(api, "reject")

    (said,) = await loyalty.said(PointsCorrected)
    assert (said.balance_after, said.written_off, said.owed) == (balance, written_off, owed)
    assert await loyalty.differences() == []


async def test_an_approved_purchase_that_was_credited_stays_as_it_is(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    _, customer_id = await bought(loyalty, 100_000, limits=[LARGE])
    review = (await decide(api, "approve")).json()
    assert (review["state"], review["correction_id"]) == ("approved", None)
    assert [each.rejected_categories for each in await loyalty.said(ReviewDecided)] == [None]
    assert await standing(api, customer_id) == (50, 100_000)
    assert await loyalty.said(PointsCorrected) == []


async def test_an_approved_purchase_that_was_withheld_is_credited_and_its_return_takes_that_back(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    large, customer_id = await bought(loyalty, 100_000, 14_000, limits=[HARD])
    assert await standing(api, customer_id) == (0, 0)
    review = (await decide(api, "approve")).json()

    assert await standing(api, customer_id) == (57, 114_000)
    receipt = (await api.get(f"/purchases/{large.receipt_id}")).json()
    assert (receipt["points"], receipt["withheld"], receipt["operation_id"]) == (57, None, review["correction_id"])
    assert [(line["points"], line["why"]) for line in receipt["lines"]] == [(50, "level:base"), (7, "level:base")]
    (said,) = await loyalty.said(PointsCorrected)
    assert (said.points, said.expires_at) == (57, large.completed_at + timedelta(days=365))
    assert await loyalty.differences() == []

    await adjust(api, customer_id, 10, expires_at=(NOW + timedelta(days=1)).isoformat())
    await loyalty.hear(came_back(large, {2: 14_000}))
    await loyalty.hear(cancelled(large))
    assert [each.points for each in await loyalty.said(PointsReturned)] == [7, 50]
    left = await loyalty.rows("SELECT operation_id, remaining FROM lots WHERE remaining > 0")
    assert [row.remaining for row in left] == [10]
    assert await standing(api, customer_id) == (10, 0)
    assert await loyalty.differences() == []


async def test_the_return_of_an_approved_purchase_is_written_off_only_where_it_was_spent(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.set_terms(returned_but_spent="write_off")
    large, customer_id = await bought(loyalty, 100_000, limits=[HARD])
    await decide(api, "approve")
    await loyalty.hear(cancelled(large))
    assert [(each.points, each.written_off) for each in await loyalty.said(PointsReturned)] == [(50, 0)]
    assert await standing(api, customer_id) == (0, 0)


async def test_what_came_back_before_the_approval_earns_nothing(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    large, customer_id = await bought(loyalty, 100_000, 14_000, limits=[HARD])
    await loyalty.hear(came_back(large, {1: 33_333, 2: 14_000}))
    await decide(api, "approve")
    assert await standing(api, customer_id) == (34, 66_667)
    await loyalty.hear(came_back(large, {1: 66_667}))
    assert [each.points for each in await loyalty.said(PointsReturned)] == [0, 34]
    assert await standing(api, customer_id) == (0, 0)
    assert await loyalty.differences() == []


async def test_the_approval_of_a_cancelled_purchase_credits_nothing(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    large, customer_id = await bought(loyalty, 100_000, limits=[HARD])
    await loyalty.hear(cancelled(large))
    assert (await decide(api, "approve")).status_code == 200
    assert await standing(api, customer_id) == (0, 0)
    assert await loyalty.differences() == []


async def test_an_approval_prices_by_the_terms_of_then_and_the_level_of_now(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    large, customer_id = await bought(loyalty, 100_000, limits=[HARD])
    await loyalty.rows("UPDATE accounts SET spent_minor = 5000000, bonus_coefficient = 20000")
    levels = [{"code": "base", "spent_minor_from": 0, "rate_basis_points": 9000}]
    assert (await post(api, "/terms", reason=None, levels=levels)).status_code == 201
    await decide(api, "approve")
    assert (await standing(api, customer_id))[0] == 2 * 60
    assert (await api.get(f"/purchases/{large.receipt_id}")).json()["level"] == "silver"


async def test_credited_points_pay_what_is_owed_first(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await loyalty.set_terms(returned_but_spent="debt")
    large, customer_id = await bought(loyalty, 100_000, limits=[HARD])
    small = purchase(large.card_number, 10_000)
    await loyalty.hear(small)
    await adjust(api, customer_id, -5)
    await loyalty.hear(cancelled(small))
    await decide(api, "approve")
    (said,) = await loyalty.said(PointsCorrected)
    assert (said.points, said.debt_paid, said.balance_after) == (50, 5, 45)
    assert await loyalty.differences() == []


async def test_a_purchase_is_credited_when_the_last_of_its_limits_is_approved(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    second = {**HARD, "code": "of_till", "per": "terminal"}
    _, customer_id = await bought(loyalty, 100_000, limits=[HARD, second])
    await decide(api, "approve", limit_code="of_till")
    assert await standing(api, customer_id) == (0, 0)
    await decide(api, "approve", limit_code=HARD["code"])
    assert await standing(api, customer_id) == (50, 100_000)
    assert await loyalty.differences() == []


@pytest.mark.parametrize("first", ["approve", "reject"])
async def test_one_rejection_is_enough(loyalty: Loyalty, api: httpx.AsyncClient, first: str) -> None:
    soft = {**LARGE, "code": "soft"}
    large, customer_id = await bought(loyalty, 100_000, limits=[HARD, soft])
    if first == "approve":
        await decide(api, "approve", limit_code=HARD["code"])
        assert await standing(api, customer_id) == (50, 100_000)
        await decide(api, "reject", limit_code="soft")
    else:
        await decide(api, "reject", limit_code="soft")
        await decide(api, "approve", limit_code=HARD["code"])
    assert await standing(api, customer_id) == (0, 0)
    await loyalty.hear(cancelled(large))
    assert await standing(api, customer_id) == (0, 0)
    assert await loyalty.differences() == []


async def test_a_rejected_purchase_that_was_withheld_stays_without_points(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    _, customer_id = await bought(loyalty, 100_000, limits=[HARD])
    assert (await decide(api, "reject")).json()["correction_id"] is None
    assert await standing(api, customer_id) == (0, 0)


async def test_a_review_is_decided_once(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    _, customer_id = await bought(loyalty, 100_000, limits=[HARD])
    (review,) = (await api.get("/reviews")).json()["items"]
    answers = await asyncio.gather(
        *(post(api, f"/reviews/{review['id']}/{verdict}") for verdict in ("approve", "reject") * 4)
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert await problem(await post(api, f"/reviews/{review['id']}/approve")) == (409, "review_decided")
    assert await problem(await post(api, f"/reviews/{new_id()}/approve")) == (404, "review_not_found")
    assert len(await loyalty.said(ReviewDecided)) == 1
    assert await standing(api, customer_id) in ((50, 100_000), (0, 0))
    assert await loyalty.differences() == []


async def test_two_reviews_of_one_purchase_decided_at_once_credit_it_once(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    others = [{**HARD, "code": f"hard_{n}"} for n in range(6)]
    _, customer_id = await bought(loyalty, 100_000, limits=others)
    listed = (await api.get("/reviews")).json()["items"]
    answers = await asyncio.gather(*(post(api, f"/reviews/{review['id']}/approve") for review in listed))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert await standing(api, customer_id) == (50, 100_000)
    assert len(await loyalty.said(PointsCorrected)) == 1


async def test_a_blocked_customer_is_credited_nothing(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    _, customer_id = await bought(loyalty, 100_000, limits=[HARD])
    await loyalty.hear(CustomerBlocked(customer_id=customer_id, reason="suspected_fraud", blocked_at=NOW))
    assert await problem(await decide(api, "approve")) == (409, "account_frozen")
    assert (await decide(api, "reject")).status_code == 200


async def test_a_decision_says_who_and_why_and_takes_a_key(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    _, customer_id = await bought(loyalty, 100_000, limits=[LARGE])
    (review,) = (await api.get("/reviews")).json()["items"]
    path, form = f"/reviews/{review['id']}/reject", {"reason": "mistake"}
    assert await problem(await api.post(path, json=form, headers=OLGA)) == (400, "idempotency_key_missing")
    keyed = {"Idempotency-Key": str(uuid4())}
    assert (await api.post(path, json={}, headers=keyed | OLGA)).status_code == 422
    first = await api.post(path, json=form, headers=keyed | OLGA)
    again = await api.post(path, json=form, headers=keyed | OLGA)
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    assert await standing(api, customer_id) == (0, 0)


async def test_decisions_on_returns_change_no_points(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    large, customer_id = await bought(loyalty, 100_000, limits=[limit("card", "returns", 0)])
    await loyalty.hear(came_back(large, {1: 50_000}))
    assert (await decide(api, "reject")).json()["correction_id"] is None
    assert await standing(api, customer_id) == (25, 50_000)
    (said,) = await loyalty.said(ReviewDecided)
    assert said.rejected_categories is None


@pytest.mark.parametrize("hard", [True, False])
async def test_what_was_corrected_after_a_merge_is_unmerged_with_its_customer(
    loyalty: Loyalty, api: httpx.AsyncClient, hard: bool
) -> None:
    large, merged_id = await bought(loyalty, 60_000, 40_000, limits=[{**LARGE, "hard": hard}])
    survivor_id = await loyalty.knows(card())
    await loyalty.hear(came_back(large, {1: 20_000}))
    await loyalty.hear(CustomersMerged(customer_id=survivor_id, merged_id=merged_id, merged_at=NOW))
    await loyalty.hear(came_back(large, {2: 20_000}))
    await decide(api, "approve" if hard else "reject")
    expected = (30, 60_000) if hard else (0, 0)
    assert await standing(api, survivor_id) == expected
    undone_at = NOW + timedelta(minutes=1)
    await loyalty.hear(CustomersUnmerged(customer_id=survivor_id, merged_id=merged_id, unmerged_at=undone_at))
    assert await loyalty.refused() == []
    assert await standing(api, merged_id) == expected
    assert await standing(api, survivor_id) == (0, 0)
    assert await loyalty.differences() == []


@pytest.mark.parametrize("is_merged_anew", [False, True])
async def test_what_comes_back_of_a_purchase_that_was_credited_after_a_merge_is_unmerged_with_its_customer(
    loyalty: Loyalty, api: httpx.AsyncClient, is_merged_anew: bool
) -> None:
    large, merged_id = await bought(loyalty, 60_000, 40_000, limits=[HARD])
    survivor_id = await loyalty.knows(card())
    await adjust(api, survivor_id, 100)
    both = {"customer_id": survivor_id, "merged_id": merged_id}
    await loyalty.hear(CustomersMerged(**both, merged_at=NOW))
    await decide(api, "approve")
    if is_merged_anew:
        await loyalty.hear(CustomersUnmerged(**both, unmerged_at=NOW + timedelta(minutes=1)))
        await loyalty.hear(CustomersMerged(**both, merged_at=NOW + timedelta(minutes=2)))
    await loyalty.hear(came_back(large, {1: 60_000}))
    assert await standing(api, survivor_id) == (120, 40_000)
    await loyalty.hear(CustomersUnmerged(**both, unmerged_at=NOW + timedelta(minutes=3)))
    assert await standing(api, merged_id) == (20, 40_000)
    assert await standing(api, survivor_id) == (100, 0)
    assert await loyalty.differences() == []


async def test_reviews_are_listed_newest_first_in_pages_and_by_what_is_asked(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.set_terms(limits=[LARGE, limit("terminal", "purchases", 1)])
    numbers = [card() for _ in range(3)]
    customers = [await loyalty.knows(number) for number in numbers]
    for place, number in enumerate(numbers):
        await loyalty.hear(purchase(number, 100_000, terminal_id=f"t{place // 2}", store_id=f"s{place}"))

    async def found(**asked: Any) -> list[tuple[str, str]]:
        items = (await api.get("/reviews", params=asked)).json()["items"]
        return [(each["store_id"], each["limit_code"]) for each in items]

    large = LARGE["code"]
    assert await found() == [("s2", large), ("s1", "terminal_purchases"), ("s1", large), ("s0", large)]
    assert await found(limit_code="terminal_purchases") == [("s1", "terminal_purchases")]
    assert await found(customer=str(customers[0])) == await found(store="s0") == [("s0", large)]
    assert await found(terminal="t1") == [("s2", large)]
    await decide(api, "reject", terminal="t1")
    assert await found(state="rejected") == [("s2", large)]
    assert len(await found(state="open")) == 3
    first = (await api.get("/reviews", params={"limit": 3})).json()
    second = (await api.get("/reviews", params={"limit": 3, "cursor": first["next"]})).json()
    assert [len(first["items"]), len(second["items"]), second["next"]] == [3, 1, None]


async def test_a_withheld_purchase_tells_its_points_once_it_is_approved(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await bought(loyalty, 100_000, limits=[HARD])
    await decide(api, "approve")
    assert [(each.points, each.withheld) for each in await loyalty.said(PointsAccrued)] == [
        (0, "limit_card_receipt_total_minor")
    ]
    assert [each.points for each in await loyalty.said(PointsCorrected)] == [50]
