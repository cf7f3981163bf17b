"""What the ledger has of each store and day, as it is told to whoever holds it against the tills."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from chassis.envelope import Heard
from tests import off_the_bus
from tests.services.loyalty.world import NOW, Loyalty, came_back, cancelled, card, problem, purchase

EVENING = datetime(2025, 10, 31, 20, 59, 59, tzinfo=UTC)
MIDNIGHT = datetime(2025, 10, 31, 21, tzinfo=UTC)


async def store_days(api: httpx.AsyncClient, first: str, last: str, **asked: str) -> list[dict[str, Any]]:
    answer = await api.get("/reconciliation/stores", params={"from": first, "to": last, **asked})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def known(loyalty: Loyalty) -> str:
    number = card()
    await loyalty.knows(number)
    return number


async def test_each_store_and_day_has_its_receipts_money_and_points(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = await known(loyalty)
    bought = purchase(number, 100_000, 50_000, store_id="367")
    heard = off_the_bus.came(bought, NOW)
    await loyalty.hear(heard, purchase(number, 20_000, store_id="368"), purchase(number, 30_000, store_id="368"))
    back = off_the_bus.came(came_back(bought, {2: 50_000}, store_id="999"), NOW)
    await loyalty.hear(back)
    first, second = await store_days(api, "2025-11-02", "2025-11-02")
    assert first == {
        "day": "2025-11-02",
        "store_id": "367",
        "currency": "RUB",
        "receipts": 1,
        "total_minor": 150_000,
        "points": 75,
        "points_paid": 0,
        "digest": str(heard.content_hash),
        "returns": 1,
        "returned_minor": 50_000,
        "points_taken_back": 25,
        "points_refunded": 0,
        "returns_digest": str(back.content_hash),
    }
    assert (second["store_id"], second["receipts"], second["total_minor"], second["returns"]) == ("368", 2, 50_000, 0)
    (only,) = await store_days(api, "2025-11-01", "2025-11-30", store_id="368")
    assert only == second
    asked = {"day": "2025-11-02", "store_id": "367"}
    (receipt,) = (await api.get("/reconciliation/receipts", params=asked)).json()["items"]
    assert [(each["store_id"], each["terminal_id"]) for each in receipt["returns"]] == [("999", "367-1")]


async def test_a_day_ends_at_midnight_of_the_programmes_time_zone(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = await known(loyalty)
    last = purchase(number, 1_000, completed_at=EVENING)
    first = purchase(number, 2_000, completed_at=MIDNIGHT)
    await loyalty.hear(last, first)
    sums = await store_days(api, "2025-10-31", "2025-11-01")
    assert [(each["day"], each["total_minor"]) for each in sums] == [("2025-10-31", 1_000), ("2025-11-01", 2_000)]
    assert [each["total_minor"] for each in await store_days(api, "2025-10-31", "2025-10-31")] == [1_000]
    (item,) = (await api.get("/reconciliation/receipts", params={"day": "2025-11-01", "store_id": "367"})).json()[
        "items"
    ]
    assert (item["receipt_id"], item["day"]) == (first.receipt_id, "2025-11-01")


async def test_the_receipts_of_a_store_and_day_are_listed_page_by_page_with_what_came_back(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = await known(loyalty)
    bought = [purchase(number, 1_000 + place, receipt=f"page-{place}") for place in range(5)]
    await loyalty.hear(*bought, purchase(number, 5, store_id="368"))
    await loyalty.hear(cancelled(bought[3]))
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        asked = {"day": "2025-11-02", "store_id": "367", "limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/reconciliation/receipts", params=asked)).json()
        found += page["items"]
        if (cursor := page["next"]) is None:
            break
    assert [(each["receipt_id"], each["total_minor"]) for each in found] == [
        (each.receipt_id, each.total_minor) for each in bought
    ]
    (back,) = found[3]["returns"]
    assert (back["return_id"], back["total_minor"]) == ("cancelled:page-3", 1_003)


async def test_what_is_quoted_or_awaited_is_no_receipt_yet(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = await known(loyalty)
    await loyalty.hear(came_back(purchase(number, 1_000, receipt="to-come"), {1: 1_000}))
    assert await store_days(api, "2025-11-02", "2025-11-02") == []
    found = (await api.get("/reconciliation/records", params={"receipt_id": "to-come"})).json()
    assert found["receipts"] == []


async def test_a_published_record_is_found_where_it_is(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = await known(loyalty)
    here = purchase(number, 1_000)
    waits = off_the_bus.came(purchase(None, 1_000, phone="+79161234567"), NOW)
    dead = off_the_bus.came(purchase(number, 1_000, currency="JPY"), NOW)
    await loyalty.hear(here, waits, dead)
    asked = [("receipt_id", here.receipt_id), ("receipt_id", "none")]
    asked += [("place", f"{each.raw.partition}:{each.raw.offset}") for each in (waits, dead)]
    found = (await api.get("/reconciliation/records", params=[*asked, ("place", "11:7")])).json()
    assert [each["receipt_id"] for each in found["receipts"]] == [here.receipt_id]
    assert [(each["offset"], each["awaits"]) for each in found["waiting"]] == [(offset_of(waits), "phone:…4567")]
    (letter,) = found["dead_letters"]
    assert (letter["offset"], letter["reason"], letter["state"]) == (offset_of(dead), "unknown_currency", "kept")


def offset_of(heard: Heard) -> int:
    return heard.raw.offset


@pytest.mark.parametrize(("first", "last"), [("2025-11-02", "2025-11-01"), ("2025-10-01", "2025-11-01")])
async def test_days_that_end_before_they_begin_or_are_too_many_are_refused(
    api: httpx.AsyncClient, first: str, last: str
) -> None:
    answer = await api.get("/reconciliation/stores", params={"from": first, "to": last})
    assert await problem(answer) == (422, "bad_days")
