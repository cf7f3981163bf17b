"""Points in time: pending until they are activated, announced before they burn, prolonged by activity."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.jobs import Job, run_job
from contracts.customers import CustomerBlocked
from contracts.loyalty import PointsAccrued, PointsActivated, PointsExpiring
from services.loyalty import activation, notices
from services.loyalty.activation import activate_due_lots
from services.loyalty.lot_life import activates_at, expires_at
from services.loyalty.notices import announce_expiry
from services.loyalty.terms import Rules
from tests.services.loyalty.world import NOW, Loyalty, adjust, came_back, card, post, problem, purchase

DAY = timedelta(days=1)
MOSCOW = ZoneInfo("Europe/Moscow")


async def activate(loyalty: Loyalty) -> None:
    await run_job(Job(activate_due_lots, every=DAY), loyalty.database)


async def announce(loyalty: Loyalty) -> None:
    await run_job(Job(announce_expiry, every=DAY), loyalty.database)


async def shown(api: httpx.AsyncClient, customer_id: UUID) -> Any:
    (account,) = (await api.get(f"/customers/{customer_id}/balance")).json()["accounts"]
    return account


async def test_pending_points_cannot_be_spent_until_they_are_activated(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.set_terms(activates_after_h=24)
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000), purchase(number, 100_000, completed_at=NOW - 2 * DAY))

    account = await shown(api, customer_id)
    assert (account["balance"], account["available"], account["pending"]) == (100, 50, 50)
    assert account["activating"] == [{"on": "2025-11-03", "points": 50}]
    refused = await post(api, f"/customers/{customer_id}/operations", points=-51)
    assert await problem(refused) == (409, "not_enough_points")
    await activate(loyalty)
    assert await loyalty.said(PointsActivated) == []
    await loyalty.rows("UPDATE lots SET activates_at = :now WHERE pending", now=NOW)
    await activate(loyalty)
    account = await shown(api, customer_id)
    assert (account["available"], account["pending"], account["activating"]) == (100, 0, [])
    (activated,) = await loyalty.said(PointsActivated)
    assert (activated.points, activated.available_after) == (50, 100)
    assert await loyalty.differences() == []


async def test_a_return_takes_pending_points_back(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await loyalty.set_terms(activates_after_return_period=True, return_period_days=14)
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000, 20_000)
    await loyalty.hear(bought)
    assert (await loyalty.said(PointsAccrued))[0].activates_at == bought.completed_at + 14 * DAY
    await loyalty.hear(came_back(bought, {1: 100_000}))
    account = await shown(api, customer_id)
    assert (account["balance"], account["pending"]) == (10, 10)
    assert await loyalty.differences() == []


async def test_activation_in_pieces_tells_of_each_account_once(
    loyalty: Loyalty, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "PIECE_LOTS", 2)
    await loyalty.set_terms(activates_after_h=24)
    cards = [card() for _ in range(5)]
    for number in cards:
        await loyalty.knows(number)
    await loyalty.hear(*(purchase(number, 20_000) for number in cards), purchase(cards[0], 20_000))
    await loyalty.rows("UPDATE lots SET activates_at = :now", now=NOW)
    await activate(loyalty)
    assert sorted(each.points for each in await loyalty.said(PointsActivated)) == [10, 10, 10, 10, 20]
    assert await loyalty.differences() == []


async def test_points_that_burn_soon_are_told_of_once_for_each_account_and_day(
    loyalty: Loyalty, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PIECE_ACCOUNTS", 2)
    customers = [await loyalty.knows(card()) for _ in range(3)]
    noon = NOW + 7 * DAY
    for customer_id in customers:
        for hour in (0, 1):
            await adjust(api, customer_id, 10, expires_at=(noon + timedelta(hours=hour)).isoformat())
        await adjust(api, customer_id, 99, expires_at=(noon + DAY).isoformat())
    await adjust(api, customers[0], -15)
    await adjust(api, customers[1], -20)
    await announce(loyalty)
    await announce(loyalty)

    told = {each.customer_id: each for each in await loyalty.said(PointsExpiring)}
    assert {each: told[each].points for each in told} == {customers[0]: 5, customers[2]: 20}
    assert told[customers[2]].expires_at == noon
    assert told[customers[2]].available == 119
    assert len(await loyalty.said(PointsExpiring)) == 2


async def test_days_that_were_missed_are_told_of_late(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = await loyalty.knows(card())
    for days in (5, 6, 7):
        await adjust(api, customer_id, days, expires_at=(NOW + days * DAY).isoformat())
    await loyalty.rows("INSERT INTO notice_days VALUES (:day, now())", day=(NOW + 4 * DAY).date())
    await announce(loyalty)
    assert [each.points for each in await loyalty.said(PointsExpiring)] == [5, 6, 7]


@pytest.mark.parametrize(("age", "told"), [(True, [10]), (False, [])])
async def test_blocked_customers_are_told_only_where_their_points_age(
    loyalty: Loyalty, api: httpx.AsyncClient, age: bool, told: list[int]
) -> None:
    await loyalty.set_terms(lots_age_while_frozen=age)
    customer_id = await loyalty.knows(card())
    await adjust(api, customer_id, 10, expires_at=(NOW + 7 * DAY).isoformat())
    await loyalty.hear(CustomerBlocked(customer_id=customer_id, reason="fraud", blocked_at=NOW))
    await announce(loyalty)
    assert [each.points for each in await loyalty.said(PointsExpiring)] == told


async def test_nobody_is_told_where_the_terms_say_so(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await loyalty.set_terms(notice_days_before=None)
    await adjust(api, await loyalty.knows(card()), 10, expires_at=(NOW + 7 * DAY).isoformat())
    await announce(loyalty)
    assert await loyalty.said(PointsExpiring) == []


async def test_each_purchase_gives_all_points_a_new_life_where_the_terms_say_so(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.set_terms(lots_live_on_with_activity=True, lot_life_days=100)
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 20_000, completed_at=NOW - 90 * DAY))
    await loyalty.hear(purchase(number, 20_000, completed_at=NOW - 101 * DAY))
    await loyalty.hear(purchase(number, 20_000, completed_at=NOW - DAY))
    await loyalty.expire()
    account = await shown(api, customer_id)
    assert account["balance"] == 20
    assert account["expiring"] == [{"on": (NOW + 99 * DAY).date().isoformat(), "points": 20}]


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=MOSCOW)


@pytest.mark.parametrize(
    ("rules", "earned", "ends"),
    [
        ({"lot_life_days": 30}, at(2025, 1, 31, 12), at(2025, 3, 2, 12)),
        ({"lot_life_days": None, "lot_life_months": 1}, at(2025, 1, 31, 12), at(2025, 2, 28, 12)),
        ({"lot_life_days": None, "lot_life_months": 12}, at(2024, 2, 29), at(2025, 2, 28)),
        ({"lot_life_days": 0, "lots_end_with": "month"}, at(2025, 12, 31, 23, 59), at(2026, 1, 1)),
        ({"lot_life_days": 0, "lots_end_with": "quarter"}, at(2025, 5, 15), at(2025, 7, 1)),
        ({"lot_life_days": 0, "lots_end_with": "year"}, at(2025, 1, 1), at(2026, 1, 1)),
        ({"lot_life_days": None, "lot_life_months": 6, "lots_end_with": "quarter"}, at(2025, 8, 1), at(2026, 4, 1)),
        ({"lot_life_days": None}, at(2025, 8, 1), None),
    ],
)
def test_points_burn_as_long_after_or_with_the_period_that_the_terms_say(
    rules: Any, earned: datetime, ends: datetime | None
) -> None:
    assert expires_at(Rules(**rules), earned) == ends


moments = st.integers(946_684_800, 4_102_444_800).map(lambda second: datetime.fromtimestamp(second, UTC))


@given(
    moments,
    st.integers(0, 400),
    st.integers(0, 30),
    st.sampled_from([None, "month", "quarter", "year"]),
    st.sampled_from(["Europe/Moscow", "America/New_York", "Asia/Kolkata", "UTC"]),
)
def test_points_never_burn_before_their_time_and_periods_end_at_midnight(
    earned: datetime, days: int, months: int, period: Any, zone: str
) -> None:
    rules = Rules(lot_life_days=days, lot_life_months=months, lots_end_with=period, time_zone=zone)
    end = expires_at(rules, earned)
    assert end is not None
    assert end >= earned
    if period:
        local = end.astimezone(ZoneInfo(zone))
        assert (local.day, local.hour, local.minute, local.second, local.microsecond) == (1, 0, 0, 0, 0)
        assert (local.month - 1) % {"month": 1, "quarter": 3, "year": 12}[period] == 0


def test_points_are_activated_after_the_longer_of_the_delay_and_the_return_period() -> None:
    assert activates_at(Rules(), NOW) is None
    assert activates_at(Rules(activates_after_h=5), NOW) == NOW + timedelta(hours=5)
    both = Rules(activates_after_h=5, activates_after_return_period=True, return_period_days=14)
    assert activates_at(both, NOW) == NOW + 14 * DAY


async def test_only_those_lots_of_an_account_are_activated_whose_time_has_come(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    customer_id = await loyalty.knows(card())
    for points, days in ((10, 1), (20, 2)):
        await adjust(api, customer_id, points, activates_at=(NOW + days * DAY).isoformat())
    await loyalty.rows("UPDATE lots SET activates_at = :now WHERE amount = 10", now=NOW)
    await activate(loyalty)
    account = await shown(api, customer_id)
    assert (account["available"], account["pending"]) == (10, 20)
    assert [each.points for each in await loyalty.said(PointsActivated)] == [10]
    assert await loyalty.differences() == []
