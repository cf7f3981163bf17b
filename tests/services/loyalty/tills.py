"""Tills that speak HTTP: how they are registered and get a key, what they ask, and what is held for their customers."""

from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx

from contracts.purchases import PurchaseCompleted
from tests.services.loyalty.world import OLGA, Loyalty, adjust, card, post, purchase


async def put(api: httpx.AsyncClient, terminal_id: str, store_id: str = "367") -> httpx.Response:
    return await api.put(f"/terminals/{terminal_id}", json={"store_id": store_id}, headers=OLGA)


async def do(api: httpx.AsyncClient, terminal_id: str, what: str) -> httpx.Response:
    return await post(api, f"/terminals/{terminal_id}/{what}", reason=None)


async def with_key(api: httpx.AsyncClient, terminal_id: str = "367-04", store_id: str = "367") -> str:
    assert (await put(api, quote(terminal_id, safe=""), store_id)).status_code in (200, 201)
    answer = await do(api, quote(terminal_id, safe=""), "key")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


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


async def rich(loyalty: Loyalty, api: httpx.AsyncClient, points: int = 100) -> tuple[str, UUID]:
    """A card, and its customer, who has so many points."""
    number = card()
    customer_id = await loyalty.knows(number)
    await adjust(api, customer_id, points)
    return number, customer_id


async def with_points_held(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till, points: int
) -> tuple[UUID, PurchaseCompleted, Any]:
    """A customer of 100 points, a receipt of theirs of 1,000 roubles, and so many of the points held for it."""
    number, customer_id = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    return customer_id, bought, await till.hold(bought, points)


async def shown(api: httpx.AsyncClient, customer_id: UUID) -> dict[str, int]:
    (account,) = (await api.get(f"/customers/{customer_id}/balance")).json()["accounts"]
    return {name: account[name] for name in ("balance", "available", "held", "debt")}


def paid(bought: PurchaseCompleted, hold: Any) -> PurchaseCompleted:
    return bought.model_copy(update={"hold_id": UUID(hold["hold_id"])})
