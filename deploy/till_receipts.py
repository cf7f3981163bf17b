"""What the tills themselves say they sold, read from their topic or from a list of theirs: no word of a service's.

It is kept in a temporary SQLite database on disk, so that memory holds no more than one store's day.
"""

import csv
import json
import sqlite3
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self
from zoneinfo import ZoneInfo

from chassis.envelope import Heard, Raw, Unprocessable, decode
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.records import Record
from deploy.bus import looking_at_bus
from deploy.trouble import Trouble
from deploy.words import _

TOPIC: Final = PurchaseCompleted.topic
KNOWN: Final[dict[str, type[Record]]] = {
    each.type: each for each in (PurchaseCompleted, PurchaseReturned, PurchaseCancelled)
}
GROUP: Final = "loyalty"
UNLIMITED: Final = 1 << 30
CLOCKS_DIFFER: Final = timedelta(days=2)
"""A till's clock may run ahead of its receipts' publication by a day; read from a day before that."""
COLUMNS: Final = ("receipt_id", "store_id", "date", "total_minor")
TABLES: Final = """
CREATE TABLE sold (day TEXT, store_id TEXT, receipt_id TEXT, content INTEGER, total_minor INTEGER, place TEXT);
CREATE TABLE came_back (receipt_id TEXT, return_id TEXT, content INTEGER, place TEXT);
CREATE TABLE unreadable (place TEXT, reason TEXT, detail TEXT);
"""
INDEXES: Final = """
CREATE INDEX sold_by_day ON sold (day, store_id, receipt_id);
CREATE INDEX came_back_by_receipt ON came_back (receipt_id);
"""
CONTENTS: Final = """
SELECT DISTINCT day, store_id, receipt_id, content, total_minor FROM sold ORDER BY day, store_id
"""
RETURNS: Final = """
SELECT day, store_id, receipt_id, return_id, came_back.content, min(came_back.rowid)
FROM sold JOIN came_back USING (receipt_id)
GROUP BY day, store_id, receipt_id, return_id,
         CASE WHEN return_id = 'cancelled:' || receipt_id THEN NULL ELSE came_back.content END
ORDER BY day, store_id
"""
"""With the content of the first one; a receipt is cancelled once, however often and in whatever words it is said."""
OF_STORE: Final = """
SELECT receipt_id, content, total_minor, json_group_array(place) FILTER (WHERE place IS NOT NULL)
FROM sold WHERE day = ? AND store_id = ? GROUP BY receipt_id, content, total_minor ORDER BY min(rowid)
"""
RETURNS_OF_STORE: Final = """
SELECT receipt_id, return_id, content, json_group_array(place)
FROM came_back WHERE receipt_id IN (SELECT receipt_id FROM sold WHERE day = ? AND store_id = ?)
GROUP BY receipt_id, return_id, content ORDER BY min(rowid)
"""


class StoreDay(NamedTuple):
    """One store on one day."""

    day: date
    store_id: str


class Sum(NamedTuple):
    """What was sold, each receipt once, and what came back of it; the digests are the sums of the content hashes."""

    receipts: int = 0
    total_minor: int = 0
    digest: int = 0
    returns: int = 0
    returns_digest: int = 0


class Published(NamedTuple):
    """A receipt or return with one content, and the places (`partition:offset`) on the topic that have it.

    A list of the tills' own names no places and no content beside the total.
    """

    receipt_id: str
    content: int | None
    total_minor: int
    places: list[str]
    return_id: str | None = None


class Unreadable(NamedTuple):
    """A record of those days that is no purchase by its contract."""

    place: str
    reason: str
    detail: str


class TillReceipts:
    """`with TillReceipts(first, last, zone) as receipts`: filled once, from the topic or from a list, then asked."""

    def __init__(self, first: date, last: date, time_zone: str, store_id: str | None = None) -> None:
        self.first = first
        self.last = last
        self.zone = ZoneInfo(time_zone)
        self.store_id = store_id
        self.committed: dict[int, int] = {}
        """How far loyalty has heard the topic, by partition, when the reading ended."""
        self.is_whole = True
        """Whether the topic still had all that can belong to those days."""
        self.has_contents = True
        self._kept = sqlite3.connect("")
        self._kept.executescript(TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.close()

    async def read_topic(self, bootstrap: str) -> None:
        """Everything on the topic that can belong to those days, up to where it ends now."""
        begin = datetime.combine(self.first, time.min, self.zone) - CLOCKS_DIFFER
        async with looking_at_bus(bootstrap) as bus:
            if TOPIC not in await bus.names():
                raise Trouble(_("there is no topic {name}").format(name=TOPIC))
            self.is_whole = await bus.is_whole_since(TOPIC, begin)
            async for raw in bus.read(TOPIC, start=begin, follow=False):
                self._take(raw)
            offsets = await bus.committed(GROUP)
        self.committed = {each.partition: at for each, at in offsets.items() if each.topic == TOPIC}
        self._kept.executescript(INDEXES)

    def read_list(self, path: Path) -> None:
        """A list of the tills' own: CSV with the columns receipt_id, store_id, date, total_minor. Raises Trouble."""
        self.has_contents = False
        try:
            with path.open(newline="", encoding="utf-8-sig") as source:
                rows = csv.DictReader(source)
                if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                    raise Trouble(_("{file}: there is no column {name}").format(file=path, name=missing[0]))
                for row in rows:
                    self._take_row(path, rows.line_num, row)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise Trouble(_("{file}: cannot be read ({reason})").format(file=path, reason=error)) from error
        self._kept.executescript(INDEXES)

    def sums(self) -> dict[StoreDay, Sum]:
        """By store and day, what the tills say."""
        found: dict[StoreDay, Sum] = {}
        for of, contents in groupby(self._kept.execute(CONTENTS), key=lambda row: row[:2]):
            receipts = total_minor = digest = 0
            for _day, _store, _receipt, content, total in contents:
                receipts, total_minor, digest = receipts + 1, total_minor + total, digest + (content or 0)
            found[_store_day(*of)] = Sum(receipts, total_minor, digest)
        for of, returns in groupby(self._kept.execute(RETURNS), key=lambda row: row[:2]):
            hashes = [row[4] for row in returns]
            found[_store_day(*of)] = found[_store_day(*of)]._replace(returns=len(hashes), returns_digest=sum(hashes))
        return found

    def receipts(self, of: StoreDay) -> list[Published]:
        """The receipts of one store and day, each content by itself, in the order in which they were published."""
        rows = self._kept.execute(OF_STORE, (of.day.isoformat(), of.store_id))
        return [
            Published(receipt_id, content, total, json.loads(places)) for receipt_id, content, total, places in rows
        ]

    def returns(self, of: StoreDay) -> list[Published]:
        """What came back of them, each content by itself."""
        rows = self._kept.execute(RETURNS_OF_STORE, (of.day.isoformat(), of.store_id))
        return [Published(receipt, content, 0, json.loads(places), back) for receipt, back, content, places in rows]

    def unreadable(self) -> list[Unreadable]:
        """What was published on those days and is no purchase, of whatever store."""
        return [Unreadable(*row) for row in self._kept.execute("SELECT * FROM unreadable")]

    def _take(self, raw: Raw) -> None:
        place = f"{raw.partition}:{raw.offset}"
        try:
            heard = decode(raw, KNOWN, value_max_bytes=UNLIMITED)
        except Unprocessable as why:
            published_at = datetime.fromtimestamp(raw.timestamp_ms / 1000, UTC)
            if self._is_asked(self._day(published_at), self.store_id):
                self._kept.execute("INSERT INTO unreadable VALUES (?, ?, ?)", (place, why.reason, why.detail))
            return
        if heard is not None:
            self._take_heard(heard, place)

    def _take_heard(self, heard: Heard, place: str) -> None:
        record = heard.record
        if isinstance(record, PurchaseCompleted):
            day = self._day(record.completed_at)
            if self._is_asked(day, record.store_id):
                row = (
                    day.isoformat(),
                    record.store_id,
                    record.receipt_id,
                    heard.content_hash,
                    record.total_minor,
                    place,
                )
                self._kept.execute("INSERT INTO sold VALUES (?, ?, ?, ?, ?, ?)", row)
        elif isinstance(record, PurchaseReturned):
            self._take_return(record.receipt_id, record.return_id, heard, place)
        elif isinstance(record, PurchaseCancelled):
            self._take_return(record.receipt_id, f"cancelled:{record.receipt_id}", heard, place)

    def _take_return(self, receipt_id: str, return_id: str, heard: Heard, place: str) -> None:
        row = (receipt_id, return_id, heard.content_hash, place)
        self._kept.execute("INSERT INTO came_back VALUES (?, ?, ?, ?)", row)

    def _take_row(self, path: Path, line: int, row: dict[str, str]) -> None:
        try:
            day, total_minor = date.fromisoformat(row["date"]), int(row["total_minor"])
        except (TypeError, ValueError) as error:
            raise Trouble(
                _("{file}, line {line}: date is as 2025-11-02, total_minor a whole number").format(file=path, line=line)
            ) from error
        if self._is_asked(day, row["store_id"]):
            kept = (day.isoformat(), row["store_id"], row["receipt_id"], total_minor)
            self._kept.execute("INSERT INTO sold VALUES (?, ?, ?, NULL, ?, NULL)", kept)

    def _day(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()

    def _is_asked(self, day: date, store_id: str | None) -> bool:
        return self.first <= day <= self.last and (self.store_id is None or store_id == self.store_id)


def _store_day(day: str, store_id: str) -> StoreDay:
    return StoreDay(date.fromisoformat(day), store_id)
