"""The ledger's operations of all customers, as pages and as files."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import openpyxl
import pytest

from chassis.database import utc_now
from chassis.ids import new_id
from chassis.periods import PeriodAsked
from contracts.customers import CustomersMerged
from contracts.loyalty_commands import AccruePoints
from services.loyalty.operations_api import ID_MARGIN, OPERATIONS, columns, entered_within
from services.loyalty.tables import operations
from tests.services.loyalty.world import NOW, OLGA, Loyalty, adjust, came_back, card, post, problem, purchase


async def found(api: httpx.AsyncClient, **query: Any) -> list[Any]:
    answer = await api.get("/operations", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def kinds(api: httpx.AsyncClient, **query: Any) -> list[tuple[str, int]]:
    return [(each["type"], each["points"]) for each in await found(api, **query)]


async def table(api: httpx.AsyncClient, path: str, language: str = "en") -> list[list[str]]:
    answer = await api.get(path, headers={"Accept-Language": language})
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


async def anna_and_boris(loyalty: Loyalty, api: httpx.AsyncClient) -> tuple[UUID, UUID]:
    """Anna bought in 367 and gave a part back; Boris bought in 400, and got points, which were a mistake."""
    annas, boriss = card(), card()
    anna, boris = await loyalty.knows(annas), await loyalty.knows(boriss)
    bought = purchase(annas, 100_000, 14_050, receipt="r-anna")
    await loyalty.hear(bought, purchase(boriss, 20_000, receipt="r-boris", store_id="400", terminal_id="400-2"))
    await loyalty.hear(came_back(bought, {1: 100_000}))
    gift = await adjust(api, boris, 100, comment="=HYPERLINK(1)")
    assert (await post(api, f"/operations/{gift['id']}/reversal", reason="mistake")).status_code == 201
    return anna, boris


async def test_an_operation_says_all_that_is_known_of_it(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    anna, boris = await anna_and_boris(loyalty, api)
    reversal, gift, returned, _, bought = await found(api)
    assert bought == {
        "id": bought["id"],
        "type": "purchase",
        "account_id": bought["account_id"],
        "customer_id": str(anna),
        "points": 57,
        "accrued": 57,
        "deducted": 0,
        "receipt_id": "r-anna",
        "establishment": None,
        "store_id": "367",
        "terminal_id": "367-1",
        "receipt_currency": "RUB",
        "receipt_total_minor": 114_050,
        "receipt_discount_minor": 0,
        "card_number": bought["card_number"],
        "reverses": None,
        "reversed_by": [],
        "occurred_at": "2025-11-02T11:00:00Z",
        "entered_at": "2025-11-02T12:00:00Z",
        "actor": "till:367-1",
        "reason": None,
        "comment": None,
        "idempotency_key": None,
    }
    assert (returned["points"], returned["accrued"], returned["deducted"]) == (-50, 0, 50)
    assert (returned["store_id"], returned["reverses"], returned["actor"]) == ("367", bought["id"], "till:367-1")
    assert (gift["reversed_by"], gift["customer_id"], gift["store_id"]) == ([reversal["id"]], str(boris), None)
    assert (reversal["reverses"], reversal["reason"], reversal["actor"]) == (gift["id"], "mistake", "operator:olga")


async def test_an_operation_that_no_person_did_says_what_led_to_it(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    anna, boris = await anna_and_boris(loyalty, api)
    await loyalty.hear(CustomersMerged(customer_id=anna, merged_id=boris, merged_at=NOW))
    assert {kind for kind, _ in await kinds(api, actor="trigger:merge")} == {"merge"}


TOWN = {"code": "town", "name_ru": "Город", "name_en": "Town"}
FUEL = {"code": "fuel", "name_ru": "Топливо", "name_en": "Fuel"}
KINDS = [
    {"code": "main", "name_ru": "Основной", "name_en": "Main", "points_currency": "points"},
    {"code": "litres", "name_ru": "Литры", "name_en": "Litres", "points_currency": "points", "establishment": "fuel"},
]


async def test_an_establishment_is_that_of_the_store_at_the_time_or_of_the_account(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    first = [{**TOWN, "stores": ["367"]}, {**FUEL, "stores": ["400"]}]
    await loyalty.set_terms(account_kinds=KINDS, establishments=first)
    moved = [{**TOWN, "stores": []}, {**FUEL, "stores": ["367", "400"]}]
    await loyalty.set_terms(since=NOW - timedelta(minutes=30), establishments=moved)
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 2_000), purchase(number, 4_000, completed_at=NOW))
    await loyalty.hear(purchase(number, 6_000, store_id="1"))
    await adjust(api, customer_id, 7)
    await adjust(api, customer_id, 8, account="litres")

    shown = {each["points"]: each["establishment"] for each in await found(api)}
    assert shown == {1: "town", 2: "fuel", 3: None, 7: None, 8: "fuel"}
    own = (await api.get(f"/customers/{customer_id}/operations")).json()["items"]
    assert {each["points"]: each["establishment"] for each in own} == shown
    assert await kinds(api, establishment="town") == [("purchase", 1)]
    assert await kinds(api, establishment="fuel") == [("manual", 8), ("purchase", 2)]
    assert await kinds(api, establishment="nowhere") == []
    head, *rows = await table(api, "/operations.csv?establishment=fuel")
    assert [row[head.index("Establishment")] for row in rows] == ["fuel", "fuel"]


async def test_what_was_done_by_hand_keeps_its_idempotency_key(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = await loyalty.knows(card())
    path, headers = f"/customers/{customer_id}/operations", {**OLGA, "Idempotency-Key": "olga-57"}
    done = [await api.post(path, json={"points": 5, "reason": "gift"}, headers=headers) for _ in range(2)]
    headers["Idempotency-Key"] = "olga-58"
    back = await api.post(f"/operations/{done[0].json()['id']}/reversal", json={"reason": "mistake"}, headers=headers)
    assert (done[0].json()["idempotency_key"], back.json()["idempotency_key"]) == ("olga-57", "olga-58")
    command = AccruePoints(
        command_id=new_id(), customer_id=customer_id, points=3, trigger="birthday", occasion="birthday", reason="gift"
    )
    await loyalty.hear(command)
    await loyalty.rows("TRUNCATE idempotency_keys")
    assert [(each["points"], each["idempotency_key"]) for each in await found(api)] == [
        (3, str(command.command_id)),
        (-5, "olga-58"),
        (5, "olga-57"),
    ]
    head, *rows = await table(api, "/operations.csv?type=manual")
    assert rows[0][head.index("Idempotency key")] == "olga-57"


async def test_operations_are_found_by_what_they_are(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    anna, boris = await anna_and_boris(loyalty, api)
    assert await kinds(api, type="purchase") == [("purchase", 10), ("purchase", 57)]
    assert await kinds(api, type=["manual", "return"]) == [("manual", 100), ("return", -50)]
    assert await kinds(api, store_id="367") == [("return", -50), ("purchase", 57)]
    assert await kinds(api, customer_id=anna) == [("return", -50), ("purchase", 57)]
    assert await kinds(api, customer_id=boris, type="purchase") == [("purchase", 10)]
    assert await kinds(api, receipt_id="r-anna") == [("return", -50), ("purchase", 57)]
    assert await kinds(api, receipt_id="r-boris") == [("purchase", 10)]
    assert await kinds(api, actor="operator:olga") == [("reversal", -100), ("manual", 100)]
    assert await kinds(api, actor="till:400-2") == [("purchase", 10)]
    assert await kinds(api, actor="trigger:expiry") == []
    assert await kinds(api, receipt_id="r-nobody") == await kinds(api, store_id="1") == []


async def test_a_period_is_that_of_entering_with_its_first_moment_and_without_its_last(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number, moments = card(), []
    loyalty.use_clock(utc_now)
    customer = await loyalty.knows(number)
    for points in (1, 2, 3):
        await adjust(api, customer, points)
        moments.append((await found(api))[0]["entered_at"])
    first, second, third = moments
    assert await kinds(api, **{"from": second}) == [("manual", 3), ("manual", 2)]
    assert await kinds(api, to=second) == [("manual", 1)]
    assert await kinds(api, **{"from": second, "to": third}) == [("manual", 2)]
    assert await kinds(api, **{"from": "2025-11-02T00:00:00+03:00", "to": first}) == []


async def test_a_purchase_that_is_entered_late_is_in_the_period_of_entering(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number, before = card(), utc_now()
    loyalty.use_clock(utc_now)
    await loyalty.knows(number)
    await loyalty.hear(purchase(number, 2_000, completed_at=NOW))
    assert await kinds(api, **{"from": before.isoformat()}) == [("purchase", 1)]


async def test_an_operation_whose_transaction_took_long_is_in_its_period(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    started = utc_now() - ID_MARGIN / 2
    loyalty.use_clock(lambda: started)
    customer = await loyalty.knows(card())
    await adjust(api, customer, 5)
    assert await kinds(api, to=(started + ID_MARGIN / 4).isoformat()) == [("manual", 5)]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2025-11-02T12:00:00"])
async def test_a_moment_that_no_period_can_have_is_a_problem_of_its_field(api: httpx.AsyncClient, moment: str) -> None:
    for name in ("from", "to"):
        answer = await api.get("/operations", params={name: moment})
        assert await problem(answer) == (422, "invalid_request")
        assert answer.json()["errors"][0]["field"] == name


async def test_pages_follow_one_another_from_the_newest(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await anna_and_boris(loyalty, api)
    whole = await found(api)
    first = (await api.get("/operations?limit=3")).json()
    second = (await api.get("/operations", params={"limit": 3, "cursor": first["next"]})).json()
    assert first["items"] + second["items"] == whole
    assert (len(first["items"]), second["next"]) == (3, None)


async def test_a_table_has_what_the_pages_have(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    anna, _ = await anna_and_boris(loyalty, api)
    head, *rows = await table(api, "/operations.csv?time_zone=Europe/Moscow")
    assert head == [column.title for column in columns([])]
    assert [row[0] for row in rows] == [each["id"] for each in await found(api)]
    bought = dict(zip(head, rows[-1], strict=True))
    assert (bought["Receipt total"], bought["Currency"], bought["Points"]) == ("1140.50", "RUB", "57")
    assert (bought["Occurred"], bought["Customer"]) == ("2025-11-02T14:00:00+03:00", str(anna))
    assert dict(zip(head, rows[2], strict=True))["Points"] == "-50"


async def test_a_workbook_has_what_the_pages_have_with_real_numbers_and_dates(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await anna_and_boris(loyalty, api)
    answer = await api.get("/operations.xlsx?time_zone=Europe/Moscow", headers={"Accept-Language": "ru"})
    (sheet,) = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets
    head, *rows = [[cell.value for cell in row] for row in sheet.iter_rows()]
    bought = dict(zip(head, rows[-1], strict=True))
    assert len(rows) == 5
    assert (bought["Тип"], bought["Магазин"], bought["Сумма чека"], bought["Баллы"]) == ("purchase", "367", 1140.5, 57)
    assert bought["Совершена"] == datetime.fromisoformat("2025-11-02T14:00:00")


async def test_the_head_is_in_russian_for_who_reads_russian(api: httpx.AsyncClient) -> None:
    (head,) = await table(api, "/operations.csv", "ru")
    assert head[:6] == ["Операция", "Тип", "Совершена", "Проведена", "Заведение", "Магазин"]
    assert len(head) == len(columns([]))


async def test_a_comment_that_is_a_formula_is_none_in_a_spreadsheet(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await anna_and_boris(loyalty, api)
    head, *rows = await table(api, "/operations.csv?type=manual")
    assert dict(zip(head, rows[0], strict=True))["Comment"] == "'=HYPERLINK(1)"


@pytest.mark.parametrize(
    ("query", "rows"),
    [("type=purchase&type=manual", 3), ("store_id=400", 1), ("actor=operator:olga", 2), ("receipt_id=r-anna", 2)],
)
async def test_a_file_has_what_was_asked_for_alone(
    loyalty: Loyalty, api: httpx.AsyncClient, query: str, rows: int
) -> None:
    await anna_and_boris(loyalty, api)
    assert len(await table(api, f"/operations.csv?{query}")) == 1 + rows


async def test_a_period_is_a_range_of_the_primary_key(loyalty: Loyalty) -> None:
    await loyalty.rows(
        "INSERT INTO operations (id, type, account_id, points, occurred_at, entered_at) SELECT "
        "(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid,"
        " 'expiry', :account, -1, at, at FROM generate_series(1, 20000) AS n, "
        "LATERAL (SELECT timestamptz '2025-01-01Z' + n * interval '1 minute' AS at) AS moment",
        account=UUID(int=1),
    )
    await loyalty.rows("ANALYZE operations")
    day = PeriodAsked(datetime(2025, 1, 3, tzinfo=UTC), datetime(2025, 1, 4, tzinfo=UTC))
    select = OPERATIONS.where(*entered_within(day)).order_by(operations.c.id.desc())
    query = str(select.compile(loyalty.database.engine.sync_engine, compile_kwargs={"literal_binds": True}))
    assert len(await loyalty.rows(query)) == 24 * 60
    plan = [line for (line,) in await loyalty.rows(f"EXPLAIN {query}")]
    assert any("Index Cond: ((id >= " in line for line in plan), plan
    assert not any("Seq Scan on operations" in line for line in plan), plan
