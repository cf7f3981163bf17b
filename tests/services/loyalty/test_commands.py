"""Points on an occasion: each command is carried out once, and what cannot be is refused."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx

from chassis.ids import new_id
from contracts.customers import CustomerBlocked
from contracts.loyalty import PointsAdjusted
from contracts.loyalty_commands import AccruePoints, BurnPoints
from tests.services.loyalty.tills import shown
from tests.services.loyalty.world import NOW, Loyalty, card


def asked(customer_id: UUID, points: int, **other: Any) -> dict[str, Any]:
    return {
        "command_id": new_id(),
        "customer_id": customer_id,
        "points": points,
        "occasion": "birthday",
        "reason": "birthday_2025",
        "trigger": "birthday_week",
    } | other


async def test_points_are_given_and_taken_on_an_occasion(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = await loyalty.knows(card())
    ends = NOW + timedelta(days=20)
    await loyalty.hear(AccruePoints(**asked(customer_id, 300, expires_at=ends)))
    await loyalty.hear(BurnPoints(**asked(customer_id, 100, occasion="compensation")))

    assert (await shown(api, customer_id))["balance"] == 200
    given, taken = await loyalty.said(PointsAdjusted)
    assert (given.points, given.occasion, given.actor, given.expires_at) == (
        300,
        "birthday",
        "trigger:birthday_week",
        ends,
    )
    assert (taken.points, taken.occasion) == (-100, "compensation")
    newest, oldest = (await api.get(f"/customers/{customer_id}/operations")).json()["items"]
    assert (oldest["type"], oldest["reason"], newest["type"]) == ("birthday", "birthday_2025", "compensation")
    assert await loyalty.differences() == []


async def test_a_command_that_comes_again_is_carried_out_once(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = await loyalty.knows(card())
    command = AccruePoints(**asked(customer_id, 300))
    await loyalty.hear(command, command)
    await loyalty.hear(command)
    assert (await shown(api, customer_id))["balance"] == 300
    assert await loyalty.refused() == []


async def test_a_command_for_somebody_new_opens_an_account(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = new_id()
    await loyalty.hear(AccruePoints(**asked(customer_id, 300, occasion="registration")))
    assert (await shown(api, customer_id))["balance"] == 300


async def test_a_command_that_cannot_be_is_refused_and_can_be_replayed(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    poor, blocked = await loyalty.knows(card()), await loyalty.knows(card())
    await loyalty.hear(CustomerBlocked(customer_id=blocked, blocked_at=NOW, reason="suspected_fraud"))
    burn = BurnPoints(**asked(poor, 10))
    await loyalty.hear(
        burn,
        AccruePoints(**asked(blocked, 10)),
        AccruePoints(**asked(poor, 10, account="fuel")),
        AccruePoints(**asked(poor, 10, expires_at=NOW)),
        AccruePoints(**asked(poor, 7)),
    )
    assert sorted(await loyalty.refused()) == [
        "account_frozen",
        "expires_in_the_past",
        "not_enough_points",
        "unknown_account_kind",
    ]
    await loyalty.hear(AccruePoints(**asked(poor, 3)))
    await loyalty.hear(burn)
    assert (await shown(api, poor))["balance"] == 0
    assert await loyalty.differences() == []
