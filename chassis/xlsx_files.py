"""XLSX piece by piece (ECMA-376, part 1): what is written leaves at once, so that a file of any size is never whole.

The libraries for it keep the file in memory or on a disk until its last row, and send nothing before.
"""

import re
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import IO, Final
from uuid import UUID
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from chassis.csv_files import Value, is_formula

MEDIA_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SHEET_MAX_ROWS: Final = 1_048_576
SHEET_MAX_BYTES: Final = 2**30
"""A larger one would need the ZIP64 format, which not every program reads."""
TEXT_MAX_CHARS: Final = 32_767
EXACT_INT: Final = 10**15
"""Excel keeps fifteen digits of a number; a longer one is written as text."""
ZERO_DAY: Final = datetime(1899, 12, 30)  # noqa: DTZ001 (Excel knows no time zones)
FIRST_MOMENT: Final = datetime(1900, 3, 2, tzinfo=UTC)
"""What is earlier is written as text: before March Excel counts a day that never was."""

_HEAD, _MOMENT, _DAY, _HUNDREDTHS, _QUOTED = range(1, 6)
"""Places in the style sheet's cellXfs."""
_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_SPREADSHEETML: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_STYLES: Final = f"""{_XML}<styleSheet xmlns="{_MAIN}"><numFmts count="2">\
<numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/><numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd"/>\
</numFmts><fonts count="2"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font>\
<font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts>\
<fills count="2"><fill><patternFill patternType="none"/></fill>\
<fill><patternFill patternType="gray125"/></fill></fills>\
<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>\
<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs><cellXfs count="6">\
<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>\
<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>\
<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>\
<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>\
<xf numFmtId="4" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>\
<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0" quotePrefix="1"/></cellXfs>\
<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>"""
_RELATIONS: Final = f"""{_XML}<Relationships xmlns="{_PACKAGE}/relationships">\
<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>"""
_PLAIN: Final = re.compile(r"[^\W_](?:[^\W_]|[-.,:/]| (?! |$))*")
"""Most texts: nothing in them needs a look, which is half of the time that a cell takes."""
_UNWRITABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


class XlsxFile:
    """Moments are real dates in the zone, without an offset; the first row of each sheet is its head.

    What does not fit on a sheet goes on to the next one. Text is text and never a formula, also after it was edited.
    """

    media_type = MEDIA_TYPE

    def __init__(self, titles: Sequence[str], zone: ZoneInfo, name: str) -> None:
        """`name`: of its sheets, at most 25 characters and none of `[]:*?/\\`."""
        self._titles = titles
        self._zone = zone
        self._name = name
        self._columns = [_letters(number) for number in range(len(titles))]
        self._sink = _Sink()
        self._archive = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._sheet: IO[bytes] | None = None
        self._sheets = 0
        self._rows = 0
        self._bytes = 0

    def begin(self) -> bytes:
        """The head."""
        self._begin_sheet()
        return self._sink.take()

    def add(self, rows: Iterable[Sequence[Value]]) -> bytes:
        """These rows."""
        if self._bytes > SHEET_MAX_BYTES:
            self._next_sheet()
        written: list[str] = []
        for row in rows:
            if self._rows == SHEET_MAX_ROWS:
                self._write("".join(written))
                written.clear()
                self._next_sheet()
            written.append(self._row(row))
        self._write("".join(written))
        return self._sink.take()

    def end(self) -> bytes:
        """What follows the last row."""
        self._end_sheet()
        for name, content in self._parts():
            self._archive.writestr(name, content)
        self._archive.close()
        return self._sink.take()

    def close(self) -> None:
        """Give up what has no end yet: an archive that is left open complains when it is collected."""
        if self._sheet is not None:
            self._sheet.close()
        self._archive.close()

    def _next_sheet(self) -> None:
        self._end_sheet()
        self._begin_sheet()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        self._rows = 0
        part = zipfile.ZipInfo(f"xl/worksheets/sheet{self._sheets}.xml")
        part.compress_type = zipfile.ZIP_DEFLATED
        self._sheet = self._archive.open(part, "w")
        columns = f'<cols><col min="1" max="{len(self._titles)}" width="20" customWidth="1"/></cols>'
        pane = '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
        view = f'<sheetViews><sheetView workbookViewId="0">{pane}</sheetView></sheetViews>'
        self._write(f'{_XML}<worksheet xmlns="{_MAIN}">{view}{columns}<sheetData>')
        self._write(self._row(self._titles, style=_HEAD))
        self._bytes = 0

    def _end_sheet(self) -> None:
        self._write("</sheetData></worksheet>")
        assert self._sheet is not None
        self._sheet.close()

    def _write(self, text: str) -> None:
        assert self._sheet is not None
        self._bytes += self._sheet.write(text.encode())

    def _row(self, row: Sequence[Value], style: int = 0) -> str:
        self._rows += 1
        number = self._rows
        cells = [
            self._cell(f"{column}{number}", value, style)
            for column, value in zip(self._columns, row, strict=True)
            if value is not None
        ]
        return f'<row r="{number}">{"".join(cells)}</row>'

    def _cell(self, place: str, value: str | int | Decimal | datetime | date | UUID, style: int) -> str:
        if isinstance(value, str):
            return _text(place, value, style)
        if isinstance(value, int) and abs(value) < EXACT_INT:
            return f'<c r="{place}"><v>{value}</v></c>'
        if isinstance(value, Decimal) and abs(value) < EXACT_INT:
            styled = f' s="{_HUNDREDTHS}"' if value.as_tuple().exponent == -2 else ""
            return f'<c r="{place}"{styled}><v>{value:f}</v></c>'
        if isinstance(value, datetime) and value >= FIRST_MOMENT:
            return f'<c r="{place}" s="{_MOMENT}"><v>{_days(value.astimezone(self._zone))!r}</v></c>'
        if isinstance(value, date) and not isinstance(value, datetime) and value >= FIRST_MOMENT.date():
            return f'<c r="{place}" s="{_DAY}"><v>{(value - ZERO_DAY.date()).days}</v></c>'
        return _text(place, str(value))

    def _parts(self) -> Iterable[tuple[str, str]]:
        """The parts that say what the others are; they come last, for only now the sheets are counted."""
        numbers = range(1, self._sheets + 1)
        names = [escape(self._name) if number == 1 else f"{escape(self._name)} {number}" for number in numbers]
        sheets = "".join(
            f'<sheet name="{name}" sheetId="{number}" r:id="rId{number}"/>'
            for number, name in zip(numbers, names, strict=True)
        )
        yield (
            "xl/workbook.xml",
            f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{sheets}</sheets></workbook>',
        )
        related = "".join(
            f'<Relationship Id="rId{number}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{number}.xml"/>'
            for number in numbers
        )
        styles = f'<Relationship Id="rId{self._sheets + 1}" Type="{_OFFICE}/styles" Target="styles.xml"/>'
        yield (
            "xl/_rels/workbook.xml.rels",
            f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{related}{styles}</Relationships>',
        )
        yield "xl/styles.xml", _STYLES
        yield "_rels/.rels", _RELATIONS
        overridden = "".join(
            f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="{_SPREADSHEETML}.worksheet+xml"/>'
            for number in numbers
        )
        yield (
            "[Content_Types].xml",
            f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{_SPREADSHEETML}.sheet.main+xml"/>'
            f'<Override PartName="/xl/styles.xml" ContentType="{_SPREADSHEETML}.styles+xml"/>{overridden}</Types>',
        )


class _Sink:
    """Keeps what the archive writes until it is taken; without `tell` and `seek`, as a stream."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is held open."""

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


def _text(place: str, text: str, style: int = 0) -> str:
    """A text longer than a cell holds is cut off."""
    if not style and len(text) <= TEXT_MAX_CHARS and _PLAIN.fullmatch(text):
        return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'
    style = style or (_QUOTED if is_formula(text) else 0)
    styled = f' s="{style}"' if style else ""
    kept = ' xml:space="preserve"' if text != text.strip() else ""
    written = escape(_UNWRITABLE.sub(_spelled, text[:TEXT_MAX_CHARS]))
    return f'<c r="{place}"{styled} t="inlineStr"><is><t{kept}>{written}</t></is></c>'


def _spelled(found: re.Match[str]) -> str:
    """What XML cannot hold, as a cell's text spells it (section 22.9.2.19); also what only looks like such a word."""
    return f"_x{ord(found[0]):04X}_"


def _days(local: datetime) -> float:
    """A moment by the clock of its zone as Excel counts it: days since its zeroth, without an offset."""
    since = local.replace(tzinfo=None) - ZERO_DAY
    return since.days + (since.seconds + since.microseconds / 1_000_000) / 86_400


def _letters(number: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    higher, lower = divmod(number, 26)
    return (_letters(higher - 1) if higher else "") + chr(ord("A") + lower)
