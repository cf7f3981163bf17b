"""CSV piece by piece, as Excel opens it: a BOM for Russian text, and no text that it would take for a formula."""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

Value = str | int | Decimal | datetime | date | UUID | None
"""What a cell may hold."""
Separator = Literal["comma", "semicolon", "tab"]

MEDIA_TYPE: Final = "text/csv; charset=utf-8"
SEPARATORS: Final[dict[Separator, str]] = {"comma": ",", "semicolon": ";", "tab": "\t"}
_FORMULA: Final = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)?", re.ASCII)


def is_formula(text: str) -> bool:
    """Whether a spreadsheet might run it (OWASP, CSV injection); a number with a sign is none."""
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None


class CsvFile:
    """Moments are ISO 8601 with the zone's offset; with semicolons decimals have a comma, as where Excel expects them.

    Text that looks like a formula gets an apostrophe before it.
    """

    media_type = MEDIA_TYPE

    def __init__(self, titles: Sequence[str], zone: ZoneInfo, separator: Separator) -> None:
        self._titles = titles
        self._zone = zone
        self._delimiter = SEPARATORS[separator]

    def begin(self) -> bytes:
        """The head."""
        return codecs.BOM_UTF8 + self.add([self._titles])

    def add(self, rows: Iterable[Sequence[Value]]) -> bytes:
        """These rows."""
        written = io.StringIO(newline="")
        cells = ([self._cell(value) for value in row] for row in rows)
        csv.writer(written, delimiter=self._delimiter, lineterminator="\r\n").writerows(cells)
        return written.getvalue().encode()

    def end(self) -> bytes:
        """What follows the last row."""
        return b""

    def close(self) -> None:
        """Nothing is held open."""

    def _cell(self, value: Value) -> object:
        if isinstance(value, str):
            return f"'{value}" if is_formula(value) else value
        if isinstance(value, datetime):
            return value.astimezone(self._zone).isoformat()
        if isinstance(value, Decimal):
            return f"{value:f}".replace(".", "," if self._delimiter == ";" else ".")
        return value
