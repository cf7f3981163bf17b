"""A whole year of real receipts through the real Kafka: every total is that of an independent computation in SQL."""

import pytest
import pytest_asyncio

from services.loyalty.__main__ import service
from tests.harness import House
from tests.infra import Kafka, Postgres
from tests.stories.complete_journey import (
    PROMISES,
    Customer,
    Day,
    Operation,
    Receipt,
    Return,
    Sums,
    Year,
    assert_same,
    sold,
)

pytestmark = pytest.mark.timeout(1200)

RECEIPTS = """
SELECT receipt_id, household_id, CAST(store_id AS VARCHAR), moment, earned.total_minor, points, level,
       CASE WHEN gone.total_minor IS NULL THEN 'completed' WHEN is_cancellation THEN 'cancelled'
            WHEN gone.total_minor = earned.total_minor THEN 'returned' ELSE 'partly_returned' END
FROM earned LEFT JOIN (SELECT basket_id, bool_or(is_cancellation) AS is_cancellation, sum(total_minor) AS total_minor
                       FROM taken_back GROUP BY basket_id) AS gone USING (basket_id)
ORDER BY moment, place
"""
OPERATIONS = """
SELECT name, household_id, total_minor, points, balance_after, expires_at FROM operations ORDER BY moment, place, step
"""
RETURNS = "SELECT return_id, receipt_id, total_minor, points, 0 AS written_off FROM taken_back ORDER BY moment"
CUSTOMERS = "SELECT household_id, balance, spent_minor, level FROM customers ORDER BY household_id"
DAYS = """
SELECT CAST(store_id AS VARCHAR), strftime(moment, '%Y-%m-%d') AS day, count(*), sum(total_minor), sum(points)
FROM earned GROUP BY store_id, day ORDER BY day, store_id
"""
SUMS = """
SELECT count(*), sum(total_minor), sum(points), (SELECT count(*) FROM taken_back),
       (SELECT sum(total_minor) FROM taken_back), (SELECT sum(points) FROM taken_back),
       sum(total_minor) - (SELECT sum(total_minor) FROM taken_back),
       sum(points) - (SELECT sum(points) FROM taken_back), sum(points) - (SELECT sum(points) FROM taken_back)
FROM earned
"""
LEVELS = "SELECT in_force_from, level, count(*) FROM earned GROUP BY ALL"
WAYS_BACK = """
SELECT count(*) FILTER (is_cancellation), count(*) FILTER (step = 2),
       count(*) FILTER (taken_back.total_minor = earned.total_minor AND NOT is_cancellation),
       count(*) FILTER (taken_back.total_minor < earned.total_minor)
FROM taken_back JOIN earned USING (basket_id)
"""
FELL = """
SELECT count(*) FROM (
    SELECT in_force_from = lag(in_force_from) OVER before AND spent_before < lag(spent_before) OVER before
           AND level <> lag(level) OVER before AS fell
    FROM earned WINDOW before AS (PARTITION BY household_id ORDER BY moment, place)
) WHERE fell
"""


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[pytest.param(8, id="an eighth of the households"), pytest.param(1, id="all", marks=pytest.mark.long)],
)
async def year(request: pytest.FixtureRequest, kafka: Kafka, postgres: Postgres) -> Year:
    async with House.built(service, kafka, postgres) as house:
        return await sold(house, every=request.param)


def test_every_level_and_every_way_back_is_in_the_year(year: Year) -> None:
    assert len(year.asked(LEVELS)) == sum(len(promise.levels) for promise in PROMISES)
    assert min(count for _, _, count in year.asked(LEVELS)) > 50
    assert min(year.asked(WAYS_BACK)[0]) > 50
    assert year.asked(FELL)[0][0] > 0


def test_each_receipt_earned_by_its_total_its_level_and_the_terms_of_its_time(year: Year) -> None:
    expected = {receipt_id: Receipt(*row) for receipt_id, *row in year.asked(RECEIPTS)}
    assert_same("receipt", expected, year.receipts)


def test_each_return_took_back_exactly_what_its_lines_earned(year: Year) -> None:
    expected = {return_id: Return(*row) for return_id, *row in year.asked(RETURNS)}
    assert_same("return", expected, year.returns)


def test_each_operation_is_told_once_and_the_balances_run_on(year: Year) -> None:
    expected = {name: Operation(*row) for name, *row in year.asked(OPERATIONS)}
    assert_same("operation", expected, year.operations)


def test_each_customer_has_the_points_the_spending_and_the_level_of_their_receipts(year: Year) -> None:
    expected = {household: Customer(*row) for household, *row in year.asked(CUSTOMERS)}
    assert_same("household", expected, year.customers)


def test_the_last_balance_told_of_each_customer_is_the_balance(year: Year) -> None:
    expected = {household: balance for household, balance, *_ in year.asked(CUSTOMERS)}
    assert_same("household", expected, year.last_balances)


def test_each_store_and_day_has_its_receipts_money_and_points(year: Year) -> None:
    expected = {(store, day): Day(*row) for store, day, *row in year.asked(DAYS)}
    assert_same("store and day", expected, year.days)


def test_the_sums_of_the_year_are_the_data_sets_and_the_programme_gave_them(year: Year) -> None:
    assert year.sums == Sums(*year.asked(SUMS)[0])


def test_the_ledger_is_without_a_difference_and_nothing_is_left_over(year: Year) -> None:
    assert year.differences == []
    assert year.left_over == []
