"""Kinds of account, establishments, families and coefficients: whose points, where, and how many."""

from importlib import import_module
from typing import Any
from uuid import UUID

import httpx
import pytest

from contracts.customers import CustomerBlocked
from contracts.holds import HoldReleased
from contracts.loyalty import Balance, CoefficientsChanged, FamilyJoined, FamilyLeft, PointsAccrued, PointsReturned
from services.loyalty.terms import Rules
from tests.services.loyalty.tills import Till, with_key
from tests.services.loyalty.world import NOW, OLGA, Loyalty, adjust, came_back, card, post, problem, purchase

LITRES = {"code": "litres", "name_ru": "литры", "name_en": "litres", "scale": 2, "worth_minor": 6_000}
POINTS = {"code": "points", "name_ru": "баллы", "name_en": "points", "worth_minor": 100}
MAIN = {"code": "main", "name_ru": "Основной", "name_en": "Main", "points_currency": "points"}
FUEL = {
    "code": "fuel",
    "name_ru": "Топливный",
    "name_en": "Fuel",
    "points_currency": "litres",
    "establishment": "stations",
    "earns": True,
}
STATIONS = {"code": "stations", "name_ru": "АЗС", "name_en": "Stations", "stores": ["500", "501"]}


@pytest.fixture
async def stations(loyalty: Loyalty) -> None:
    """A programme whose filling stations have points of their own."""
    await loyalty.set_terms(points_currencies=[POINTS, LITRES], account_kinds=[MAIN, FUEL], establishments=[STATIONS])


async def accounts(api: httpx.AsyncClient, customer_id: UUID, language: str = "en") -> dict[str, Any]:
    answer = await api.get(f"/customers/{customer_id}/balance", headers={"Accept-Language": language})
    return {account["kind"]: account for account in answer.json()["accounts"]}


@pytest.mark.usefixtures("stations")
async def test_a_purchase_earns_on_the_account_of_its_establishment(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 120_000, store_id="500"), purchase(number, 20_000, store_id="367"))

    found = await accounts(api, customer_id, "ru")
    assert {kind: each["available"] for kind, each in found.items()} == {"main": 10, "fuel": 100}
    fuel = found["fuel"]
    assert (fuel["name"], fuel["establishment"], fuel["currency_name"], fuel["scale"]) == (
        "Топливный",
        "stations",
        "литры",
        2,
    )
    assert fuel["worth_minor"] == 6_000
    (state,) = {each.customer_id: each for each in await loyalty.said(Balance)}.values()
    assert {each.kind: (each.available, each.points_scale) for each in state.balances} == {
        "main": (10, None),
        "fuel": (100, 2),
    }
    said = {each.points_currency: (each.points, each.points_scale) for each in await loyalty.said(PointsAccrued)}
    assert said == {"points": (10, None), "litres": (100, 2)}
    assert await loyalty.differences() == []


@pytest.mark.usefixtures("stations")
async def test_points_of_an_establishment_are_spent_in_it_alone(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await adjust(api, customer_id, 100)
    await adjust(api, customer_id, 500, account="fuel")
    shop, station = Till(api, await with_key(api)), Till(api, await with_key(api, "500-01", "500"))
    at_shop, at_station = purchase(number, 20_000), purchase(number, 20_000)

    assert [each["account"] for each in (await shop.quote(at_shop))["payable"]] == ["main"]
    refused = await shop.ask(at_shop.receipt_id, "hold", points=1, account="fuel")
    assert await problem(refused) == (404, "account_not_found")
    payable = (await station.quote(at_station))["payable"]
    assert [(each["account"], each["most_points"], each["most_minor"]) for each in payable] == [
        ("main", 100, 10_000),
        ("fuel", 333, 19_980),
    ]
    hold = await station.hold(at_station, 333, account="fuel")
    assert hold["worth_minor"] == 19_980
    await loyalty.hear(at_station.model_copy(update={"hold_id": UUID(hold["hold_id"]), "store_id": "500"}))
    assert (await accounts(api, customer_id))["fuel"]["balance"] == 500 - 333
    assert await loyalty.differences() == []


async def test_an_unknown_kind_of_account_is_refused(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = await loyalty.knows(card())
    refused = await post(api, f"/customers/{customer_id}/operations", points=1, account="fuel")
    assert await problem(refused) == (422, "unknown_account_kind")


@pytest.mark.usefixtures("stations")
async def test_accounts_that_were_opened_before_they_knew_their_scale_learn_it(loyalty: Loyalty) -> None:
    number = card()
    await loyalty.knows(number)
    await loyalty.hear(purchase(number, 120_000, store_id="500"))
    await loyalty.rows("UPDATE accounts SET points_scale = 0")

    await loyalty.rows(import_module("services.loyalty.migrations.0016_scales").SCALES)

    rows = await loyalty.rows("SELECT kind, points_scale FROM accounts")
    assert {row.kind: row.points_scale for row in rows} == {"main": 0, "fuel": 2}


async def join(api: httpx.AsyncClient, holder: UUID, member: UUID) -> httpx.Response:
    return await post(api, f"/customers/{holder}/members/{member}", reason=None)


async def leave(api: httpx.AsyncClient, holder: UUID, member: UUID) -> httpx.Response:
    return await api.delete(f"/customers/{holder}/members/{member}", headers=OLGA)


async def test_cards_of_a_family_open_one_account_and_their_own_again_when_they_leave(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (hers, anna), (his, boris) = [(number, await loyalty.knows(number)) for number in (card(), card())]
    await loyalty.hear(purchase(his, 20_000))
    assert (await join(api, anna, boris)).status_code == 201
    await loyalty.hear(purchase(hers, 40_000), purchase(his, 60_000))

    assert (await accounts(api, anna))["main"]["balance"] == 50
    shown = (await api.get(f"/customers/{boris}/balance")).json()
    assert (shown["holder_id"], shown["accounts"][0]["balance"]) == (str(anna), 50)
    assert [each["customer_id"] for each in shown["members"]] == [str(boris)]
    accrued = (await loyalty.said(PointsAccrued))[-1]
    assert (accrued.customer_id, accrued.buyer_id) == (anna, boris)
    assert await problem(await join(api, boris, anna)) == (409, "holder_in_a_family")

    assert (await leave(api, anna, boris)).status_code == 204
    await loyalty.hear(purchase(his, 20_000))
    assert (await accounts(api, boris))["main"]["balance"] == 20
    assert (await accounts(api, anna))["main"]["balance"] == 50
    assert len(await loyalty.said(FamilyJoined)) == len(await loyalty.said(FamilyLeft)) == 1
    assert await loyalty.differences() == []


async def test_a_return_names_the_member_who_had_bought_also_when_they_have_left(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (hers, anna), (his, boris) = [(number, await loyalty.knows(number)) for number in (card(), card())]
    await join(api, anna, boris)
    bought = [purchase(his, 60_000), purchase(hers, 40_000)]
    await loyalty.hear(*bought)

    await loyalty.hear(came_back(bought[0], {1: 20_000}), came_back(bought[1], {1: 20_000}))
    await leave(api, anna, boris)
    await loyalty.hear(came_back(bought[0], {1: 40_000}))

    said = [(each.customer_id, each.buyer_id) for each in await loyalty.said(PointsReturned)]
    assert said == [(anna, boris), (anna, None), (anna, boris)]


async def test_a_card_that_a_member_gets_later_opens_the_familys_account(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    anna, boris = await loyalty.knows(card()), await loyalty.knows(card())
    await join(api, anna, boris)
    new = card()
    await loyalty.knows(new, boris)
    await loyalty.hear(purchase(new, 20_000))
    assert (await accounts(api, anna))["main"]["balance"] == 10


async def test_a_blocked_member_neither_earns_nor_spends_and_the_family_does(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    (hers, anna), (his, boris) = [(number, await loyalty.knows(number)) for number in (card(), card())]
    await join(api, anna, boris)
    await adjust(api, anna, 100)
    await loyalty.hear(CustomerBlocked(customer_id=boris, blocked_at=NOW, reason="suspected_fraud"))
    await loyalty.hear(purchase(his, 20_000), purchase(hers, 20_000))
    assert [each.withheld for each in await loyalty.said(PointsAccrued)] == ["account_frozen", None]
    till = Till(api, await with_key(api))
    bought = purchase(his, 20_000)
    await till.quote(bought)
    assert await problem(await till.ask(bought.receipt_id, "hold", points=1)) == (409, "account_frozen")


async def test_who_leaves_a_family_takes_no_held_points_along(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    (_, anna), (his, boris) = [(number, await loyalty.knows(number)) for number in (card(), card())]
    await join(api, anna, boris)
    await adjust(api, anna, 100)
    till = Till(api, await with_key(api))
    bought = purchase(his, 20_000)
    await till.quote(bought)
    hold = await till.hold(bought, 60)
    await leave(api, anna, boris)
    assert [each.because for each in await loyalty.said(HoldReleased)] == ["accounts_changed"]
    assert (await api.get(f"/purchases/{bought.receipt_id}")).json()["state"] == "quoted"
    await loyalty.hear(bought.model_copy(update={"hold_id": UUID(hold["hold_id"])}))
    assert (await accounts(api, anna))["main"]["balance"] == 100
    assert await loyalty.differences() == []


async def test_a_customers_own_coefficients_change_what_they_earn_and_what_points_are_worth(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    form = {"bonus_coefficient": 20_000, "redemption_coefficient": 5_000, "reason": "employee"}
    path = f"/customers/{customer_id}/coefficients"
    assert (await api.put(path, json=form, headers=OLGA)).status_code == 204
    assert await problem(await api.put(path, json=form, headers=OLGA)) == (409, "coefficients_unchanged")
    await loyalty.hear(purchase(number, 20_000))

    account = (await accounts(api, customer_id))["main"]
    assert (account["balance"], account["worth_minor"]) == (20, 1_000)
    quote = await Till(api, await with_key(api)).quote(purchase(number, 20_000))
    assert (quote["points"], quote["cashback_basis_points"]) == (20, 500)
    assert quote["payable"][0]["most_minor"] == 1_000
    (changed,) = await loyalty.said(CoefficientsChanged)
    assert (changed.bonus_before, changed.bonus_after, changed.actor) == (10_000, 20_000, "operator:olga")


def test_the_first_terms_have_one_kind_of_account_for_everything() -> None:
    assert [kind.code for kind in Rules().account_kinds] == ["main"]
