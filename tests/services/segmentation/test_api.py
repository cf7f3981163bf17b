"""What people read of segmentation over HTTP."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

import services.segmentation
from chassis.http import build_app
from chassis.settings import Settings
from contracts.customers import CustomerErased
from services.segmentation import members
from services.segmentation.api import router
from services.segmentation.profile import average_receipt
from tests.services.segmentation.world import DAY, NOW, Segmentation, accrued, came_back, ids


@pytest.fixture
async def http(segmentation: Segmentation) -> AsyncIterator[httpx.AsyncClient]:
    async def ready() -> Sequence[str]:
        return []

    app = build_app(
        "segmentation",
        router,
        segmentation.database,
        settings=Settings(),
        readiness=ready,
        texts=Path(services.segmentation.__file__).parent,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


async def get(http: httpx.AsyncClient, path: str, **parameters: object) -> Any:
    answer = await http.get(path, params={name: str(value) for name, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_customers_page_tells_features_scores_and_moves(
    http: httpx.AsyncClient, segmentation: Segmentation
) -> None:
    (anna,) = ids(1)
    purchase = accrued(anna, 10_001, at=NOW - 9 * DAY, categories={"MILK": 4_000, "TEA": 6_001})
    old = accrued(anna, 5_000, at=NOW - 400 * DAY, store="9", categories={"TEA": 5_000})
    await segmentation.hear(purchase, old, came_back(purchase, 1_000, categories={"TEA": 1_000}))
    await segmentation.recompute()
    assert await get(http, f"/customers/{anna}") == {
        "customer_id": str(anna),
        "purchases": 2,
        "returns": 1,
        "cancellations": 0,
        "first_purchase_at": "2024-09-28T12:00:00Z",
        "last_purchase_at": "2025-10-24T12:00:00Z",
        "changed_at": "2025-11-02T12:00:00Z",
        "spending": [
            {
                "currency": "RUB",
                "purchases": 2,
                "paid_minor": 15_001,
                "returned_minor": 1_000,
                "total_minor": 14_001,
                "average_receipt_minor": 7_001,
            }
        ],
        "categories": [
            {"currency": "RUB", "category": "TEA", "total_minor": 10_001},
            {"currency": "RUB", "category": "MILK", "total_minor": 4_000},
        ],
        "stores": [
            {"currency": "RUB", "store_id": "367", "purchases": 1, "total_minor": 9_001},
            {"currency": "RUB", "store_id": "9", "purchases": 1, "total_minor": 5_000},
        ],
        "window": {
            "days": 365,
            "purchases": 1,
            "last_purchase_at": "2025-10-24T12:00:00Z",
            "spent_minor": {"RUB": 9_001},
        },
        "rfm": {"recency": 5, "frequency": 1, "monetary": 1, "segment": "new", "since": "2025-11-02T12:00:00Z"},
        "moves": [
            {
                "customer_id": str(anna),
                "before": None,
                "after": "new",
                "recency": 5,
                "frequency": 1,
                "monetary": 1,
                "moved_at": "2025-11-02T12:00:00Z",
            }
        ],
    }


async def test_a_stranger_and_an_erased_customer_are_not_found_in_the_callers_language(
    http: httpx.AsyncClient, segmentation: Segmentation
) -> None:
    (anna,) = ids(1)
    await segmentation.hear(accrued(anna))
    await segmentation.hear(CustomerErased(customer_id=anna, erased_at=NOW))
    for customer in (anna, *ids(1)):
        answer = await http.get(f"/customers/{customer}", headers={"Accept-Language": "ru"})
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:kopilka:problem:customer_not_found")
        assert answer.json()["title"] == "Покупатель не найден"


@pytest.mark.parametrize(
    ("total", "purchases", "average"),
    [(0, 0, None), (-5, 0, None), (10, 4, 3), (9, 4, 2), (11, 4, 3), (7, 1, 7), (0, 3, 0)],
)
def test_an_average_receipt_is_rounded_half_up(total: int, purchases: int, average: int | None) -> None:
    assert average_receipt(total, purchases) == average


async def test_the_matrix_has_all_cells_and_segments_before_anything_is_known(http: httpx.AsyncClient) -> None:
    matrix = await get(http, "/rfm")
    assert (matrix["scored_at"], matrix["window_days"], matrix["customers"]) == (None, 365, 0)
    assert (len(matrix["cells"]), len(matrix["segments"])) == (25, 10)


async def test_the_matrix_counts_and_sums_each_segment(http: httpx.AsyncClient, segmentation: Segmentation) -> None:
    anna, boris, vera = ids(3)
    await segmentation.hear(
        accrued(anna, 100, at=NOW - DAY),
        accrued(boris, 200, at=NOW - DAY),
        accrued(boris, 300, at=NOW - 2 * DAY, currency="KZT"),
        accrued(vera, 400, at=NOW - 400 * DAY),
    )
    await segmentation.recompute()
    matrix = await get(http, "/rfm")
    assert (matrix["scored_at"], matrix["customers"]) == ("2025-11-02T12:00:00Z", 2)
    filled = {each["segment"]: each for each in matrix["segments"] if each["customers"]}
    assert filled == {
        "new": {"segment": "new", "customers": 1, "purchases": 1, "spent_minor": {"RUB": 100}},
        "potential_loyalist": {
            "segment": "potential_loyalist",
            "customers": 1,
            "purchases": 2,
            "spent_minor": {"RUB": 200, "KZT": 300},
        },
    }
    best = matrix["cells"][0]
    assert (best["recency"], best["frequency"], best["segment"]) == (5, 5, "champions")


async def test_the_members_of_a_segment_come_by_pages(http: httpx.AsyncClient, segmentation: Segmentation) -> None:
    people = ids(7)
    await segmentation.hear(*(accrued(who) for who in people))
    await segmentation.recompute()
    found: list[UUID] = []
    page = await get(http, "/segments/new/customers", limit=3)
    found += [UUID(member["customer_id"]) for member in page["items"]]
    while page["next"]:
        page = await get(http, "/segments/new/customers", limit=3, cursor=page["next"])
        found += [UUID(member["customer_id"]) for member in page["items"]]
    assert found == sorted(people)
    assert page["items"][0] == {
        "customer_id": str(found[-1]),
        "recency": 5,
        "frequency": 1,
        "monetary": 1,
        "since": "2025-11-02T12:00:00Z",
        "purchases": 1,
        "first_purchase_at": "2025-11-01T12:00:00Z",
        "last_purchase_at": "2025-11-01T12:00:00Z",
    }
    assert (await get(http, "/segments/champions/customers"))["items"] == []


async def test_a_segment_leaves_as_csv_whole(
    http: httpx.AsyncClient, segmentation: Segmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "CSV_PAGE", 3)
    people = ids(8)
    await segmentation.hear(*(accrued(who) for who in people))
    await segmentation.recompute()
    answer = await http.get("/segments/new/customers.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="new.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [UUID(row["customer_id"]) for row in rows] == sorted(people)
    assert rows[0]["since"] == "2025-11-02T12:00:00+00:00"
    empty = await http.get("/segments/loyal/customers.csv")
    assert empty.text.splitlines() == [",".join(rows[0])]


async def test_an_export_holds_no_connection_while_its_reader_is_slow(segmentation: Segmentation) -> None:
    await segmentation.hear(*(accrued(who) for who in ids(3)))
    await segmentation.recompute()
    pool = segmentation.database.engine.pool
    async for _ in members.members_as_csv(segmentation.database, "new"):
        assert pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_an_unknown_segment_is_named_as_the_field_at_fault(http: httpx.AsyncClient) -> None:
    answer = await http.get("/segments/rich/customers")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "segment"


async def test_moves_come_newest_first_and_by_segment(http: httpx.AsyncClient, segmentation: Segmentation) -> None:
    anna, boris = ids(2)
    await segmentation.hear(accrued(anna, at=NOW - 9 * DAY))
    await segmentation.recompute()
    segmentation.now = NOW + DAY
    await segmentation.hear(accrued(boris, at=NOW))
    await segmentation.recompute()
    first = await get(http, "/rfm/moves", limit=2)
    second = await get(http, "/rfm/moves", limit=2, cursor=first["next"])
    moments = [move["moved_at"] for move in first["items"] + second["items"]]
    assert moments == ["2025-11-03T12:00:00Z", "2025-11-03T12:00:00Z", "2025-11-02T12:00:00Z"]
    assert second["next"] is None
    left = await get(http, "/rfm/moves", before="new")
    assert [(move["customer_id"], move["after"]) for move in left["items"]] == [(str(anna), "about_to_sleep")]
    came = await get(http, "/rfm/moves", after="new")
    assert {move["customer_id"] for move in came["items"]} == {str(anna), str(boris)}


async def test_the_window_is_set_with_its_history(http: httpx.AsyncClient, segmentation: Segmentation) -> None:
    assert await get(http, "/rfm/window") == {"days": 365, "history": []}
    for days in (90, 30):
        segmentation.now += DAY
        assert (await http.put("/rfm/window", json={"days": days})).json()["days"] == days
    assert await get(http, "/rfm/window") == {
        "days": 30,
        "history": [
            {"days": 30, "since": "2025-11-04T12:00:00Z"},
            {"days": 90, "since": "2025-11-03T12:00:00Z"},
        ],
    }


@pytest.mark.parametrize("days", [0, -1, 3651, "month", None])
async def test_a_window_that_cannot_be_is_refused_by_name(http: httpx.AsyncClient, days: object) -> None:
    answer = await http.put("/rfm/window", json={"days": days})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "days"
