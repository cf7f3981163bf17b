import gc
import io
import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet

from chassis import xlsx_files
from chassis.csv_files import Value
from chassis.xlsx_files import XlsxFile

MOSCOW = ZoneInfo("Europe/Moscow")


def written(rows: Sequence[Sequence[Value]], titles: Sequence[str], *, piece: int = 2) -> bytes:
    file = XlsxFile(titles, MOSCOW, "things")
    pieces = [file.begin(), *(file.add(rows[at : at + piece]) for at in range(0, len(rows), piece)), file.end()]
    return b"".join(pieces)


def sheets(content: bytes) -> list[Worksheet]:
    return list(openpyxl.load_workbook(io.BytesIO(content)).worksheets)


def only_cell(value: Value) -> Any:
    (sheet,) = sheets(written([[value]], ["Thing"]))
    return sheet["A2"]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("молоко", "молоко"),
        (" <&> \"'\n]]> ", " <&> \"'\n]]> "),
        ("007", "007"),
        (-57, -57),
        (10**15 - 1, 10**15 - 1),
        (10**15, "1000000000000000"),
        (Decimal("1140.50"), 1140.5),
        (Decimal("0.001"), 0.001),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (date(2025, 11, 2), datetime.fromisoformat("2025-11-02")),
        (datetime(2025, 11, 2, 22, 30, 5, tzinfo=UTC), datetime.fromisoformat("2025-11-03T01:30:05")),
        (datetime(1812, 9, 7, tzinfo=UTC), "1812-09-07 00:00:00+00:00"),
        (None, None),
        ("", ""),
    ],
)
def test_a_value_is_read_as_it_was_written(value: Value, read: object) -> None:
    assert only_cell(value).value == read


def test_a_moment_is_a_date_that_is_shown_as_one() -> None:
    assert only_cell(datetime(2025, 11, 2, tzinfo=UTC)).number_format == "yyyy\\-mm\\-dd\\ hh:mm:ss"
    assert only_cell(Decimal("1140.50")).number_format == "#,##0.00"


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", " =1"])
def test_what_looks_like_a_formula_is_text_and_stays_text_when_it_is_edited(text: str) -> None:
    cell = only_cell(text)
    assert (cell.value, cell.data_type, bool(cell.quotePrefix)) == (text, "s", True)


def test_what_xml_cannot_hold_is_spelled_as_excel_spells_it() -> None:
    (sheet,) = sheets(written([["a\x01b\rc", "_x0041_"]], ["Thing", "Other"]))
    assert [cell.value for cell in sheet[2]] == ["a_x0001_b_x000D_c", "_x005F_x0041_"]


def test_a_text_that_is_too_long_for_a_cell_is_cut_off() -> None:
    assert len(only_cell("я" * 40_000).value) == 32_767


def test_the_head_is_bold_and_stays_in_sight() -> None:
    (sheet,) = sheets(written([], ["Thing", "Другое"]))
    assert [cell.value for cell in sheet[1]] == ["Thing", "Другое"]
    assert all(cell.font.b for cell in sheet[1])
    assert (sheet.freeze_panes, sheet.max_row, sheet.title) == ("A2", 1, "things")


def test_columns_have_the_letters_that_spreadsheets_give_them() -> None:
    (sheet,) = sheets(written([list(range(703))], [f"n{number}" for number in range(703)]))
    assert (sheet["Z2"].value, sheet["AA2"].value, sheet["ZZ2"].value, sheet["AAA2"].value) == (25, 26, 701, 702)


@pytest.mark.parametrize("limit", ["rows", "bytes"])
def test_what_does_not_fit_on_a_sheet_goes_on_to_the_next_one_under_the_same_head(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    if limit == "rows":
        monkeypatch.setattr(xlsx_files, "SHEET_MAX_ROWS", 3)
    else:
        monkeypatch.setattr(xlsx_files, "SHEET_MAX_BYTES", 50)
    first, second, third = sheets(written([[number] for number in range(5)], ["Thing"]))
    columns = [[cell.value for cell in sheet["A"]] for sheet in (first, second, third)]
    assert columns == [["Thing", 0, 1], ["Thing", 2, 3], ["Thing", 4]]
    assert [sheet.title for sheet in (first, second, third)] == ["things", "things 2", "things 3"]


def test_a_file_is_whole_and_is_no_zip64_archive() -> None:
    content = written([["milk"]], ["Thing"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
    assert b"PK\x06\x06" not in content


def test_every_piece_leaves_at_once() -> None:
    file = XlsxFile(["Thing"], MOSCOW, "things")
    file.begin()
    pieces = [len(file.add([[f"{number * 7919:x}" * 10] for number in range(2000)])) for _ in range(20)]
    assert min(pieces) > 0
    assert len(file.end()) < 10 * max(pieces)


@pytest.mark.parametrize("begun", [False, True])
def test_a_file_that_is_given_up_is_let_go_of_in_silence(begun: bool) -> None:
    file = XlsxFile(["Thing"], MOSCOW, "things")
    if begun:
        file.begin()
        file.add([["milk"]])
    file.close()
    del file
    gc.collect()
