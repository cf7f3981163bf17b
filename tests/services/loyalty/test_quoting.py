"""Quotes: what a receipt would earn, and how much of it can be paid with points. They bind nobody."""

from datetime import timedelta

import httpx
import pytest

from chassis.jobs import Job, run_job
from contracts.customers import Card
from contracts.holds import PurchaseAbandoned
from services.loyalty.quotes import abandon_stale
from tests.services.loyalty.tills import Till, quote_form, rich, with_key, with_points_held
from tests.services.loyalty.world import NOW, Loyalty, card, problem, purchase


async def test_a_quote_says_what_each_line_earns_and_what_can_be_paid(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    await loyalty.set_terms(payable_share=5_000, payable_step_points=10, not_payable={"products": ["p2"]})
    number, _ = await rich(loyalty, api, 777)
    quote = await till.quote(purchase(number, 100_000, 14_000))

    assert (quote["points"], quote["level"], quote["cashback_basis_points"], quote["withheld"]) == (
        57,
        "base",
        500,
        None,
    )
    assert [(line["points"], line["payable_minor"], line["why"]) for line in quote["lines"]] == [
        (50, 57_000, "level:base"),
        (7, 0, "level:base"),
    ]
    (payable,) = quote["payable"]
    assert (payable["available"], payable["most_points"], payable["most_minor"]) == (777, 570, 57_000)


async def test_a_bad_quote_names_its_field(loyalty: Loyalty, api: httpx.AsyncClient, till: Till) -> None:
    number, _ = await rich(loyalty, api)
    form = quote_form(purchase(number, 100_000))
    bad = await till.ask("r-bad", "quote", **{**form, "currency": "rub"})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "currency")
    nobody = await till.ask("r-bad", "quote", **{**form, "card_number": None})
    assert nobody.status_code == 422
    foreign = await till.ask("r-bad", "quote", **{**form, "currency": "XTS"})
    assert await problem(foreign) == (422, "unknown_currency")


@pytest.mark.parametrize(
    ("line", "field", "english", "russian"),
    [
        (
            {"total_minor": 1},
            "lines[1].total_minor",
            "must be amount_minor - discount_minor: 50000",
            "должно быть amount_minor - discount_minor: 50000",
        ),
        (
            {"line_no": 1},
            "lines",
            "two lines have the same line_no; give each line its own",
            "у двух строк одинаковый line_no; дайте каждой строке свой",
        ),
    ],
)
async def test_a_quote_whose_lines_make_no_receipt_is_told_by_field_in_the_tills_language(
    api: httpx.AsyncClient, till: Till, line: dict[str, int], field: str, english: str, russian: str
) -> None:
    form = quote_form(purchase(card(), 100_000, 50_000))
    form["lines"][1] |= line
    for language, detail in (("en", english), ("ru", russian)):
        till.api.headers["Accept-Language"] = language
        answer = await till.ask("r-bad", "quote", **form)
        assert answer.json()["errors"] == [{"field": field, "detail": detail}]


async def test_unknown_and_blocked_cards_are_answered_alike(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, customer_id = await rich(loyalty, api)
    await loyalty.hear(Card(card_number=number, customer_id=customer_id, state="blocked"))
    answers = []
    for each in (number, card()):
        bought = purchase(each, 100_000)
        answer = (await till.ask(bought.receipt_id, "quote", **quote_form(bought))).json()
        answers.append({**answer, "instance": ""})
    assert answers[0] == answers[1]
    assert answers[0]["status"] == 404


async def test_another_till_neither_quotes_nor_holds_nor_releases_this_receipt(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    other = Till(api, await with_key(api, "112-01", "112"))
    number, _ = await rich(loyalty, api)
    bought = purchase(number, 100_000)
    await till.quote(bought)
    assert await problem(await other.ask(bought.receipt_id, "quote", **quote_form(bought))) == (409, "receipt_taken")
    assert await problem(await other.ask(bought.receipt_id, "hold", points=1)) == (404, "quote_not_found")
    await till.hold(bought, 1)
    assert await problem(await other.ask(bought.receipt_id, "release")) == (404, "quote_not_found")


async def test_a_receipt_with_points_held_is_not_quoted_again(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    _, bought, _ = await with_points_held(loyalty, api, till, 10)
    assert await problem(await till.ask(bought.receipt_id, "quote", **quote_form(bought))) == (409, "points_held")


async def test_a_completed_purchase_is_not_quoted_again(loyalty: Loyalty, api: httpx.AsyncClient, till: Till) -> None:
    number, _ = await rich(loyalty, api)
    bought = purchase(number, 100_000, terminal_id="367-04")
    await till.quote(bought)
    await loyalty.hear(bought)
    assert await problem(await till.ask(bought.receipt_id, "quote", **quote_form(bought))) == (
        409,
        "purchase_completed",
    )
    assert await problem(await till.ask(bought.receipt_id, "hold", points=1)) == (409, "purchase_completed")


async def test_quotes_that_came_to_nothing_are_abandoned_and_can_be_asked_for_anew(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    number, _ = await rich(loyalty, api)
    old, young = purchase(number, 100_000), purchase(number, 100_000)
    await till.quote(old)
    await till.quote(young)
    await loyalty.rows(
        "UPDATE purchases SET quoted_at = :then WHERE receipt_id = :old",
        then=NOW - timedelta(days=2),
        old=old.receipt_id,
    )
    await run_job(Job(abandon_stale, every=timedelta(days=1)), loyalty.database)

    assert [each.receipt_id for each in await loyalty.said(PurchaseAbandoned)] == [old.receipt_id]
    await till.quote(old)
    await loyalty.hear(old)
    assert (await api.get(f"/purchases/{old.receipt_id}")).json()["state"] == "completed"
