"""Receipts are searched, as pages and as files."""

import csv
import io
from datetime import timedelta
from typing import Any

import httpx
import openpyxl

from contracts.customers import CustomersMerged
from services.loyalty.purchases_api import COLUMNS
from tests.services.loyalty.tills import Till, with_key
from tests.services.loyalty.world import NOW, Loyalty, came_back, cancelled, card, purchase

HOUR = timedelta(hours=1)


async def receipts(api: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await api.get("/purchases", params=query)
    assert answer.status_code == 200, answer.text
    return [each["receipt_id"] for each in answer.json()["items"]]


async def three_purchases(loyalty: Loyalty) -> Any:
    """Two of one customer, who is given, the later of which came back in part; one of another, cancelled."""
    number, other = card(), card()
    customer = await loyalty.knows(number)
    await loyalty.knows(other)
    early = purchase(number, 2_000, receipt="early", completed_at=NOW - 3 * HOUR)
    late = purchase(number, 114_050, receipt="late", completed_at=NOW - HOUR)
    gone = purchase(other, 2_000, receipt="gone", completed_at=NOW - 2 * HOUR, store_id="400")
    await loyalty.hear(late, early, gone)
    await loyalty.hear(came_back(late, {1: 4_050}), cancelled(gone))
    return customer


async def test_purchases_are_found_by_period_store_customer_and_state(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer = await three_purchases(loyalty)
    middle = (NOW - 2 * HOUR).isoformat()
    assert await receipts(api) == ["late", "gone", "early"]
    assert await receipts(api, **{"from": middle}) == ["late", "gone"]
    assert await receipts(api, to=middle) == ["early"]
    assert await receipts(api, store_id="367") == ["late", "early"]
    assert await receipts(api, customer_id=customer, to=middle) == ["early"]
    assert await receipts(api, state="cancelled") == ["gone"]


async def test_a_place_that_is_held_for_a_purchase_to_come_is_no_purchase(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.knows(number := card())
    await loyalty.hear(came_back(purchase(number, 2_000, receipt="to come"), {1: 2_000}))
    assert (await loyalty.rows("SELECT state FROM purchases"))[0].state == "awaited"
    assert await receipts(api) == []


async def test_pages_follow_one_another_also_where_purchases_have_the_same_moment(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.knows(number := card())
    await loyalty.hear(*(purchase(number, 2_000, receipt=f"r{n}") for n in range(5)))
    first = (await api.get("/purchases?limit=3")).json()
    second = (await api.get("/purchases", params={"limit": 3, "cursor": first["next"]})).json()
    assert [each["receipt_id"] for each in first["items"] + second["items"]] == ["r4", "r3", "r2", "r1", "r0"]
    assert second["next"] is None


async def test_a_file_has_what_was_asked_for(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await three_purchases(loyalty)
    table = await api.get("/purchases.csv?state=partly_returned")
    head, row = csv.reader(io.StringIO(table.content.decode("utf-8-sig"), newline=""))
    assert head == [column.title for column in COLUMNS]
    assert row[:5] == ["late", "partly_returned", "", "2025-11-02T11:00:00+00:00", "367"]
    assert row[7:11] == ["1140.50", "RUB", "57", "0"]
    book = await api.get(
        "/purchases.xlsx?customer_id=019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e11", headers={"Accept-Language": "ru"}
    )
    (sheet,) = openpyxl.load_workbook(io.BytesIO(book.content)).worksheets
    assert [[cell.value for cell in line][:3] for line in sheet.iter_rows()] == [["Чек", "Состояние", "Рассчитана"]]


async def test_quoted_purchases_are_found_by_their_card_store_and_receipt(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = card()
    anna = await loyalty.knows(number)
    till = Till(api, await with_key(api))
    await till.quote(purchase(number, 2_000, receipt="quoted"))
    await loyalty.hear(purchase(number, 2_000, receipt="bought"))
    for query in (f"card_number={number}", "store_id=367", f"customer_id={anna}"):
        found = (await api.get(f"/purchases?{query}")).json()["items"]
        assert [(each["receipt_id"], each["state"]) for each in found] == [
            ("quoted", "quoted"),
            ("bought", "completed"),
        ]
    (found,) = (await api.get("/purchases?receipt_id=quoted&state=quoted&state=held")).json()["items"]
    assert (found["quoted_at"], found["completed_at"]) == ("2025-11-02T12:00:00Z", None)


async def test_purchases_are_found_through_every_merge_that_stands(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    first, second, third = [await loyalty.knows(each) for each in (number, card(), card())]
    await loyalty.hear(purchase(number, 2_000, receipt="before"))
    await loyalty.hear(CustomersMerged(customer_id=second, merged_id=first, merged_at=NOW))
    await loyalty.hear(purchase(number, 2_000, receipt="between"))
    await loyalty.hear(CustomersMerged(customer_id=third, merged_id=second, merged_at=NOW))
    await loyalty.hear(purchase(number, 2_000, receipt="after"))
    for query in (f"customer_id={third}", f"card_number={number}"):
        found = (await api.get(f"/purchases?{query}")).json()["items"]
        assert sorted(each["receipt_id"] for each in found) == ["after", "before", "between"]


async def test_purchases_of_a_merged_customer_are_the_survivors(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    other, anna = await loyalty.knows(number), await loyalty.knows(card())
    await loyalty.hear(purchase(number, 2_000, receipt="hers"))
    await loyalty.hear(CustomersMerged(customer_id=anna, merged_id=other, merged_at=NOW))
    await loyalty.knows(number, anna)
    for query in (f"customer_id={anna}", f"card_number={number}"):
        found = (await api.get(f"/purchases?{query}")).json()["items"]
        assert [each["receipt_id"] for each in found] == ["hers"]
    types = [each["type"] for each in (await api.get(f"/customers/{anna}/operations")).json()["items"]]
    assert sorted(types) == ["merge", "merge", "purchase"]
