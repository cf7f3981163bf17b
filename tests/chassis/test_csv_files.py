import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from chassis.csv_files import CsvFile, Separator, Value


def written(rows: Sequence[Sequence[Value]], separator: Separator = "comma") -> str:
    file = CsvFile(["Thing"] * len(rows[0]), ZoneInfo("Europe/Moscow"), separator)
    return (file.begin() + file.add(rows) + file.end()).decode("utf-8-sig")


def only_cell(value: Value) -> str:
    _, (cell,) = csv.reader(io.StringIO(written([[value]]), newline=""))
    return cell


def test_excel_sees_a_byte_order_mark_before_russian_text() -> None:
    head = CsvFile(["Магазин"], ZoneInfo("UTC"), "comma").begin()
    assert head == b"\xef\xbb\xbf" + "Магазин\r\n".encode()


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ('молоко, "3,2 %"\nсвежее', 'молоко, "3,2 %"\nсвежее'),
        (-57, "-57"),
        (Decimal("-1140.50"), "-1140.50"),
        (Decimal("1E+3"), "1000"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (datetime(2025, 11, 2, 22, 30, tzinfo=UTC), "2025-11-03T01:30:00+03:00"),
        (None, ""),
    ],
)
def test_a_value_is_read_as_it_was_written(value: Value, read: str) -> None:
    assert only_cell(value) == read


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", " =1", "\r=1", "＝1"])
def test_what_looks_like_a_formula_has_an_apostrophe_before_it(text: str) -> None:
    assert only_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["+79161234567", "-57", "-1140,50", "367-04", "a=b", "operator:anna@shop"])
def test_a_number_with_a_sign_and_a_sign_within_a_text_are_left_alone(text: str) -> None:
    assert only_cell(text) == text


def test_with_semicolons_decimals_have_a_comma() -> None:
    assert written([[Decimal("1140.50"), 7, "a.b"]], "semicolon").splitlines()[1] == "1140,50;7;a.b"
