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
from contracts.loyalty import HoldReleased, PointsAccrued, PointsHeld, PointsRedeemed, PurchaseAbandoned
from contracts.purchases import PurchaseCompleted
from services.loyalty.holds import release_timed_out
from services.loyalty.quotes import abandon_stale
from tests.services.loyalty.test_terminals import with_key
from tests.services.loyalty.world import NOW, Loyalty, adjust, card, problem, purchase


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


async def test_a_quote_says_what_each_line_earns_and_what_can_be_paid(loyalty: Loyalty, api: httpx.AsyncClient, till: Till) -> None:
    await loyalty.set_terms(payable_share=5_000, payable_step_points=10, not_payable={"products": ["p2"]})
    number, _ = await rich(loyalty, api, 777)
    quote = await till.quote(purchase(number, 100_000, 14_000))

    assert (quote["points"], quote["level"], quote["cashback_basis_points"], quote["withheld"]) == (57, "base", 500, None)
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
