"""The receipts against the data set itself, asked by another program (DuckDB)."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Any

import duckdb
import pytest

from deploy.sandbox.tills.baskets import Basket, baskets, data_folder

UNTIL = datetime(2017, 2, 15, tzinfo=UTC)
FILE = f"(SELECT * FROM '{data_folder() / 'transactions.parquet'}' WHERE transaction_timestamp < '{UNTIL:%Y-%m-%d}')"
PRODUCTS = data_folder() / "products.parquet"


@pytest.fixture(scope="module")
def data() -> Iterator[Any]:
    with duckdb.connect() as connection:
        yield connection


def asked(data: Any, query: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = data.execute(query.format(file=FILE, products=PRODUCTS)).fetchall()
    return rows


@pytest.fixture(scope="module")
def bought() -> list[Basket]:
    """Six weeks of the year."""
    return list(takewhile(lambda basket: basket.at < UNTIL, baskets()))


def test_the_file_is_in_the_order_of_time_and_a_baskets_rows_are_neighbours(data: Any) -> None:
    rows = f"read_parquet('{data_folder() / 'transactions.parquet'}', file_row_number = true)"
    ((disorder,),) = asked(
        data,
        "SELECT count(*) FILTER (transaction_timestamp < before) FROM (SELECT transaction_timestamp, "
        f"lag(transaction_timestamp) OVER (ORDER BY file_row_number) AS before FROM {rows})",
    )
    ((scattered,),) = asked(
        data,
        "SELECT count(*) FROM (SELECT max(file_row_number) - min(file_row_number) + 1 - count(*) AS gaps "
        f"FROM {rows} GROUP BY basket_id) WHERE gaps > 0",
    )
    assert (disorder, scattered) == (0, 0)


def test_the_money_of_every_basket_is_the_data_sets_to_the_cent(data: Any, bought: list[Basket]) -> None:
    goods = "NOT (quantity = 0 AND round(sales_value * 100) = 0)"
    cents = "CAST(sum(round({} * 100)) AS BIGINT)"
    expected = asked(
        data,
        f"SELECT basket_id, {cents.format('(sales_value + retail_disc + coupon_match_disc)')}, "
        f"{cents.format('greatest(sales_value - coupon_disc, 0)')}, count(*) "
        f"FROM {{file}} WHERE {goods} GROUP BY basket_id",
    )
    found = {
        basket.basket_id: (
            sum(line.amount_minor for line in basket.lines),
            sum(line.total_minor for line in basket.lines),
            len(basket.lines),
        )
        for basket in bought
    }
    assert found == {basket: (amount, total, lines) for basket, amount, total, lines in expected}
    assert len(found) > 15_000


def test_what_the_customers_paid_is_the_sales_less_the_coupons(data: Any, bought: list[Basket]) -> None:
    ((sales, coupons, more_than_the_line),) = asked(
        data,
        "SELECT CAST(round(sum(sales_value) * 100) AS BIGINT), CAST(round(sum(coupon_disc) * 100) AS BIGINT), "
        "CAST(round(sum(greatest(coupon_disc - sales_value, 0)) * 100) AS BIGINT) FROM {file}",
    )
    assert sum(line.total_minor for basket in bought for line in basket.lines) == sales - coupons + more_than_the_line


def test_every_line_adds_up_and_nothing_is_negative(bought: list[Basket]) -> None:
    for basket in bought:
        for line in basket.lines:
            assert line.amount_minor >= line.discount_minor >= 0
            assert line.quantity > 0
            assert line.is_fuel or line.quantity == int(line.quantity)


def test_household_store_time_and_category_are_the_data_sets(data: Any, bought: list[Basket]) -> None:
    chosen = bought[::1000]
    ids = ", ".join(str(basket.basket_id) for basket in chosen)
    expected = asked(
        data,
        "SELECT basket_id, any_value(household_id), any_value(store_id), epoch(any_value(transaction_timestamp)), "
        "list(product_category ORDER BY product_id) FROM {file} LEFT JOIN '{products}' USING (product_id) "
        f"WHERE basket_id IN ({ids}) AND NOT (quantity = 0 AND round(sales_value * 100) = 0) GROUP BY 1",
    )
    for basket_id, household, store, at, categories in expected:
        (basket,) = [each for each in chosen if each.basket_id == basket_id]
        assert (basket.household, basket.store, basket.at.timestamp()) == (household, store, at)
        assert [line.category for line in sorted(basket.lines, key=lambda line: int(line.product_id))] == categories


def test_fuel_is_in_gallons_and_pieces_are_pieces(bought: list[Basket]) -> None:
    lines = [line for basket in bought for line in basket.lines]
    assert max(line.quantity for line in lines if line.is_fuel) < 100
    assert max(line.quantity for line in lines if not line.is_fuel) < 200


def test_a_later_beginning_leaves_out_what_was_before_and_nothing_else(bought: list[Basket]) -> None:
    since = datetime(2017, 1, 30, 23, 59, tzinfo=UTC)
    later = [basket for basket in bought if basket.at >= since]
    assert list(islice(baskets(since=since), len(later))) == later


def test_the_first_receipt_is_there_at_once() -> None:
    started = time.process_time()
    assert len(list(islice(baskets(), 1))) == 1
    assert time.process_time() - started < 1.5
