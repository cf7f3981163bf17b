"""What the programme promises is data with history: who changed what, from when on."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from contracts.loyalty import PointsAccrued, PointsReturned, TermsChanged
from tests.services.loyalty.world import NOW, Loyalty, adjust, came_back, card, post, problem, purchase

FIRST = "00000000-0000-7000-8000-000000000001"
LEVELS = [
    {"code": "base", "spent_minor_from": 0, "rate_basis_points": 1000},
    {"code": "gold", "spent_minor_from": 10_000, "rate_basis_points": 2000},
]

POINTS = {"code": "points", "name_ru": "баллы", "name_en": "points", "worth_minor": 100}
MAIN = {"code": "main", "name_ru": "Основной", "name_en": "Main", "points_currency": "points"}
FUEL = {
    "code": "fuel",
    "name_ru": "Топливный",
    "name_en": "Fuel",
    "points_currency": "points",
    "establishment": "stations",
    "earns": True,
}
STATIONS = {"code": "stations", "name_ru": "АЗС", "name_en": "Stations", "stores": ["500", "501"]}


@pytest.fixture(autouse=True)
async def only_the_first_terms(loyalty: Loyalty) -> None:
    await loyalty.rows("DELETE FROM terms WHERE id <> CAST(:first AS uuid)", first=FIRST)


async def change(api: httpx.AsyncClient, **terms: Any) -> httpx.Response:
    return await post(api, "/terms", reason=None, **terms)


async def test_changed_terms_hold_from_now_on_with_who_and_what(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000))
    answer = await change(api, levels=LEVELS, lot_life_days=None)

    assert answer.status_code == 201
    assert (answer.json()["set_by"], answer.json()["lot_life_days"]) == ("operator:olga", None)
    changes = {each["term"]: (each["before"], each["after"]) for each in answer.json()["changes"]}
    assert changes["lot_life_days"] == ("365", "null")
    assert set(changes) == {"lot_life_days", "levels"}
    newest, first = (await api.get("/terms")).json()
    assert newest == answer.json()
    assert (first["id"], first["changes"]) == (FIRST, [])
    (said,) = await loyalty.said(TermsChanged)
    assert (said.actor, said.in_force_from, said.set_at) == ("operator:olga", NOW, NOW)

    await loyalty.hear(purchase(number, 100_000), purchase(number, 100_000, completed_at=NOW))
    assert [each.points for each in await loyalty.said(PointsAccrued)] == [50, 50, 200]
    assert (await loyalty.said(PointsAccrued))[-1].expires_at is None


async def test_terms_of_tomorrow_do_not_hold_today(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    await loyalty.knows(number)
    await change(api, levels=LEVELS, in_force_from=(NOW + timedelta(hours=1)).isoformat())
    await loyalty.hear(purchase(number, 100_000, completed_at=NOW))

    assert [each.points for each in await loyalty.said(PointsAccrued)] == [50]


async def test_a_rule_that_is_planned_does_not_hold_yet(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000)
    await loyalty.hear(bought)
    await adjust(api, customer_id, -50)
    await adjust(api, customer_id, 60)
    await change(api, returned_but_spent="write_off", in_force_from=(NOW + timedelta(days=1)).isoformat())
    await loyalty.hear(came_back(bought, {1: 100_000}))

    assert [(each.points, each.written_off) for each in await loyalty.said(PointsReturned)] == [(50, 0)]


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"in_force_from": (NOW - timedelta(seconds=1)).isoformat(), "lot_life_days": 1}, "in_force_from"),
        ({"points_currencies": [{**POINTS, "worth_minor": 0}]}, "points_currencies[0].worth_minor"),
        ({"points_currencies": [{**POINTS, "scale": 2}]}, "points_currencies"),
        ({"points_currencies": [{**POINTS, "code": "stars"}]}, "points_currencies"),
        ({"points_currencies": [POINTS, POINTS]}, "points_currencies"),
        ({"account_kinds": [FUEL]}, "account_kinds"),
        ({"account_kinds": [MAIN, FUEL]}, "account_kinds"),
        ({"account_kinds": [MAIN, FUEL], "establishments": [STATIONS, STATIONS]}, "establishments"),
        ({"establishments": [STATIONS, {**STATIONS, "code": "other"}]}, "establishments"),
        ({"account_kinds": [{**MAIN, "points_currency": "stars"}]}, "account_kinds"),
        ({"account_kinds": [MAIN, {**FUEL, "establishment": None}]}, "account_kinds"),
        ({"account_kinds": [MAIN, FUEL, {**FUEL, "code": "fuel_2"}], "establishments": [STATIONS]}, "account_kinds"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"lot_life_days": None, "lots_live_on_with_activity": True}, "lots_live_on_with_activity"),
        ({"currencies": []}, "currencies"),
        ({"currencies": ["rub"]}, "currencies[0]"),
        ({"levels": LEVELS[1:]}, "levels"),
        ({"levels": [*LEVELS, LEVELS[1]]}, "levels"),
        ({"levels": [LEVELS[0], {**LEVELS[1], "code": "base"}]}, "levels"),
        ({"levels": [{**LEVELS[0], "rate_basis_points": 10_001}]}, "levels[0].rate_basis_points"),
        ({"lot_life_days": 0}, "lot_life_days"),
        ({"returned_but_spent": "forget"}, "returned_but_spent"),
        ({"lot_live_days": 3}, "lot_live_days"),
    ],
)
async def test_bad_terms_are_refused_by_their_field(
    loyalty: Loyalty, api: httpx.AsyncClient, form: dict[str, Any], field: str
) -> None:
    refused = await change(api, **form)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    assert len((await api.get("/terms")).json()) == 1


async def test_terms_that_are_so_already_are_no_change(api: httpx.AsyncClient) -> None:
    assert await problem(await change(api, lot_life_days=365)) == (409, "terms_unchanged")
    assert await problem(await change(api)) == (409, "terms_unchanged")


async def test_terms_before_those_that_are_planned_are_refused(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await change(api, lot_life_days=10, in_force_from=(NOW + timedelta(days=2)).isoformat())
    earlier = await change(api, lot_life_days=20, in_force_from=(NOW + timedelta(days=1)).isoformat())
    assert await problem(earlier) == (422, "terms_before_the_newest")


async def test_changes_at_once_lose_none_of_each_other(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        change(api, lot_life_days=10), change(api, rounding="up"), change(api, returned_but_spent="write_off")
    )
    assert [answer.status_code for answer in answers] == [201] * 3
    newest = (await api.get("/terms")).json()[0]
    assert (newest["lot_life_days"], newest["rounding"], newest["returned_but_spent"]) == (10, "up", "write_off")
