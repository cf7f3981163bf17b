"""What tills say over HTTP. Here no relay runs: what was said stays in the outbox."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from chassis import published
from chassis.envelope import unpack_headers
from contracts.examples import EXAMPLES
from contracts.parties import PASSES_ON
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.records import Record
from services.loyalty import till_api
from tests.services.loyalty.tills import do, with_key
from tests.services.loyalty.world import Loyalty, card, problem, purchase

FROM_PATH_AND_KEY = ("receipt_id", "store_id", "terminal_id")
RECORDS: dict[str, type[Record]] = {
    "complete": PurchaseCompleted,
    "return": PurchaseReturned,
    "cancel": PurchaseCancelled,
}
RECEIPT = "367-04-2025-11-02-000117"


@pytest.fixture(autouse=True)
def nobody_waits_for_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "PATIENCE_S", 0.02)


def form_of(record: type[Record] | Record) -> dict[str, Any]:
    """What a till sends: the contract's example, or this record, without what the path and the key say."""
    value = record.model_dump(mode="json", exclude_none=True) if isinstance(record, Record) else EXAMPLES[record.type]
    return {name: part for name, part in dict(value).items() if name not in FROM_PATH_AND_KEY}


async def send(
    api: httpx.AsyncClient,
    key: str,
    what: str,
    form: Any,
    *,
    receipt: str = RECEIPT,
    once: str | None = None,
    language: str = "en",
) -> httpx.Response:
    return await api.post(
        f"/till/purchases/{receipt}/{what}",
        content=json.dumps(form, ensure_ascii=False).encode(),
        headers={
            "Authorization": f"Bearer {key}",
            "Idempotency-Key": once or str(uuid4()),
            "Content-Type": "application/json",
            "Accept-Language": language,
        },
    )


@pytest.mark.parametrize("what", RECORDS)
async def test_a_till_says_over_http_what_it_would_have_published(
    loyalty: Loyalty, api: httpx.AsyncClient, what: str
) -> None:
    record = RECORDS[what]
    key = await with_key(api)
    answer = await send(api, key, what, form_of(record))

    assert (answer.status_code, answer.json()["published"]) == (202, False), answer.text
    (said,) = await loyalty.said(record)
    assert said == record.model_validate(EXAMPLES[record.type])
    (row,) = await loyalty.rows("SELECT topic, key, headers FROM outbox")
    assert (row.topic, row.key) == ("pos.purchases", said.key.encode())
    assert dict(unpack_headers(row.headers))["ce_source"] == b"/loyalty"


def test_what_is_passed_on_is_what_the_contracts_say() -> None:
    assert sorted(PASSES_ON["loyalty"], key=str) == sorted(RECORDS.values(), key=str)


async def test_what_comes_back_by_the_topic_is_credited_once(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought, key = form_of(purchase(number, 100_000)), await with_key(api)
    for _ in range(2):
        await send(api, key, "complete", bought)
    await loyalty.hear(*await loyalty.said(PurchaseCompleted))

    assert await loyalty.balance(customer_id) == 50
    assert await loyalty.refused() == []


async def test_a_return_at_another_till_is_that_tills(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    here, there = await with_key(api, "367-04", "367"), await with_key(api, "112-01", "112")
    await send(api, here, "complete", form_of(PurchaseCompleted))
    await send(api, there, "return", form_of(PurchaseReturned))

    (bought,) = await loyalty.said(PurchaseCompleted)
    (back,) = await loyalty.said(PurchaseReturned)
    assert (bought.terminal_id, bought.store_id) == ("367-04", "367")
    assert (back.terminal_id, back.store_id, back.receipt_id) == ("112-01", "112", bought.receipt_id)


async def test_a_receipt_of_another_till_cannot_be_told_as_ones_own(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = form_of(purchase(number, 100_000))
    for terminal_id in ("367-04", "367-05"):
        await send(api, await with_key(api, terminal_id), "complete", bought)
    await loyalty.hear(*await loyalty.said(PurchaseCompleted))

    assert await loyalty.balance(customer_id) == 50
    assert await loyalty.refused() == ["receipt_conflict"]


async def test_a_receipt_with_slashes_is_a_receipt(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await send(api, await with_key(api), "cancel", form_of(PurchaseCancelled), receipt="367%2F04%2Freturn")
    assert [each.receipt_id for each in await loyalty.said(PurchaseCancelled)] == ["367/04/return"]


async def test_a_repetition_says_nothing_anew(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    key = await with_key(api)
    first = await send(api, key, "complete", form_of(PurchaseCompleted), once="117")
    again = await send(api, key, "complete", form_of(PurchaseCompleted), once="117")

    assert [first.status_code, again.status_code] == [202, 202]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(await loyalty.said(PurchaseCompleted)) == 1


async def test_a_till_is_not_told_what_another_one_was_answered(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    here, there = await with_key(api, "367-04", "367"), await with_key(api, "112-01", "112")
    assert (await send(api, here, "cancel", form_of(PurchaseCancelled), once="1")).status_code == 202
    answer = await send(api, there, "cancel", form_of(PurchaseCancelled), once="1")
    assert await problem(answer) == (422, "idempotency_key_reused")
    assert len(await loyalty.said(PurchaseCancelled)) == 1


async def test_a_blocked_till_says_nothing_and_is_not_told_what_it_said(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    key = await with_key(api)
    await send(api, key, "complete", form_of(PurchaseCompleted), once="117")
    await do(api, "367-04", "block")

    assert await problem(await send(api, key, "complete", form_of(PurchaseCompleted), once="117")) == (
        401,
        "unauthorized",
    )
    assert await problem(await send(api, key, "cancel", form_of(PurchaseCancelled))) == (401, "unauthorized")
    assert await loyalty.said(PurchaseCancelled) == []


@pytest.mark.parametrize(
    ("what", "change", "field"),
    [
        ("complete", {"store_id": "367"}, "store_id"),
        ("complete", {"terminal_id": "367-05"}, "terminal_id"),
        ("complete", {"receipt_id": RECEIPT}, "receipt_id"),
        ("complete", {"card_numbre": "2900000000018"}, "card_numbre"),
        ("complete", {"card_number": "2900000000019"}, "card_number"),
        ("complete", {"completed_at": "2025-11-02T15:04:05"}, "completed_at"),
        ("complete", {"currency": "rub"}, "currency"),
        ("complete", {"lines": []}, "lines"),
        ("complete", {"lines": [{"line_no": 1}]}, "lines[0].product_id"),
        ("complete", {"total_minor": 1}, "total_minor"),
        ("complete", {"card_number": None, "phone": None, "customer_id": None}, "body"),
        ("return", {"return_id": ""}, "return_id"),
        ("return", {"lines": [{"line_no": 1, "quantity": "0", "total_minor": 1}]}, "lines[0].quantity"),
        ("return", {"total_minor": 1}, "total_minor"),
        ("cancel", {"cancelled_at": None}, "cancelled_at"),
    ],
)
async def test_what_is_wrong_is_named_as_the_till_sent_it(
    loyalty: Loyalty, api: httpx.AsyncClient, what: str, change: dict[str, Any], field: str
) -> None:
    answer = await send(api, await with_key(api), what, form_of(RECORDS[what]) | change)

    assert await problem(answer) == (422, "invalid_request")
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert await loyalty.said(RECORDS[what]) == []


BANANAS, COFFEE = EXAMPLES[PurchaseCompleted.type]["lines"]
(CAME_BACK,) = EXAMPLES[PurchaseReturned.type]["lines"]


@pytest.mark.parametrize(
    ("what", "change", "field", "english", "russian"),
    [
        (
            "complete",
            {"total_minor": 1},
            "total_minor",
            "must be what the lines' total_minor add up to: 114000",
            "должно быть суммой total_minor всех строк: 114000",
        ),
        (
            "return",
            {"total_minor": 1},
            "total_minor",
            "must be what the lines' total_minor add up to: 30000",
            "должно быть суммой total_minor всех строк: 30000",
        ),
        (
            "complete",
            {"discount_minor": 0},
            "discount_minor",
            "must be what the lines' discount_minor add up to: 6000",
            "должно быть суммой discount_minor всех строк: 6000",
        ),
        (
            "complete",
            {"lines": [BANANAS, {**COFFEE, "total_minor": 30_000}]},
            "lines[1].total_minor",
            "must be amount_minor - discount_minor: 84000",
            "должно быть amount_minor - discount_minor: 84000",
        ),
        (
            "complete",
            {"lines": [BANANAS, {**COFFEE, "line_no": 1}]},
            "lines",
            "two lines have the same line_no; give each line its own",
            "у двух строк одинаковый line_no; дайте каждой строке свой",
        ),
        (
            "return",
            {"lines": [CAME_BACK, CAME_BACK], "total_minor": 60_000},
            "lines",
            "two lines have the same line_no; give each line its own",
            "у двух строк одинаковый line_no; дайте каждой строке свой",
        ),
    ],
)
async def test_sums_that_do_not_add_up_are_told_by_field_in_the_callers_language(
    api: httpx.AsyncClient, what: str, change: dict[str, Any], field: str, english: str, russian: str
) -> None:
    key, form = await with_key(api), form_of(RECORDS[what]) | change
    for language, detail in (("en", english), ("ru", russian)):
        answer = await send(api, key, what, form, language=language)
        assert answer.json()["errors"] == [{"field": field, "detail": detail}]


async def test_a_quantity_that_is_none_is_told_how_to_be_one(api: httpx.AsyncClient) -> None:
    (line,) = form_of(PurchaseReturned)["lines"]
    form = form_of(PurchaseReturned) | {"lines": [line | {"quantity": "much"}]}
    (error,) = (await send(api, await with_key(api), "return", form)).json()["errors"]
    assert error["detail"].startswith("must be a decimal above zero in quotes")


async def test_a_receipt_id_that_is_too_long_is_named(api: httpx.AsyncClient) -> None:
    answer = await send(api, await with_key(api), "cancel", form_of(PurchaseCancelled), receipt="r" * 101)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "receipt_id")


async def test_a_receipt_that_no_reader_would_take_is_refused_at_the_till(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    line = form_of(PurchaseCompleted)["lines"][1] | {"product_id": "🍌" * 64, "category": "🍌" * 100}
    lines = [line | {"line_no": number} for number in range(1, 501)]
    total = line["total_minor"] * len(lines)
    large = form_of(PurchaseCompleted) | {"lines": lines, "total_minor": total, "discount_minor": 0}
    fewer = large | {"lines": lines[:300], "total_minor": line["total_minor"] * 300}
    key = await with_key(api)

    assert await problem(await send(api, key, "complete", large)) == (413, "too_large")
    assert (await send(api, key, "complete", fewer)).status_code == 202
    (said,) = await loyalty.said(PurchaseCompleted)
    assert len(said.value()) < loyalty.settings.record_max_bytes


async def test_no_path_of_the_tills_is_open_without_a_key(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    paths = [path for path in document["paths"] if path.startswith(till_api.PREFIX)]
    assert len(paths) >= 3
    for path in paths:
        for method in document["paths"][path]:
            assert document["paths"][path][method]["security"] == [{"till": []}]
            answer = await api.request(method, path.replace("{receipt_id}", "1"), headers={"Idempotency-Key": "1"})
            assert await problem(answer) == (401, "unauthorized")
