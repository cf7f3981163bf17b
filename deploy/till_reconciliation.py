"""`kopilka loyalty reconcile --from DAY`: what the tills published against what the ledger has, by store and day."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from rich.console import Console

from deploy.service_api import ServiceApi
from deploy.status_table import figure
from deploy.till_differences import Difference, Kept, as_entered, compared, compared_returns, is_same
from deploy.till_receipts import Published, StoreDay, Sum, TillReceipts
from deploy.trouble import Trouble
from deploy.words import _, ngettext

PAGE: Final = 200
ASKED_AT_ONCE: Final = 6
"""Receipts that one request asks for: their ids have up to 100 characters, and a query 4096 bytes."""
PLACES_AT_ONCE: Final = 50
SUMS_S: Final = 600.0
T = TypeVar("T")


def reconcile(
    api: ServiceApi,
    console: Console,
    bootstrap: str,
    first: date,
    last: date,
    *,
    store_id: str | None = None,
    listed_in: Path | None = None,
) -> None:
    """Name each difference and where a missing receipt is; raises Trouble where there is one."""
    if last < first:
        raise Trouble(_("the last day lies before the first"))
    began = datetime.now(UTC)
    time_zone = _sums_of(api, first, store_id)["time_zone"]
    with TillReceipts(first, last, time_zone, store_id) as tills:
        if listed_in is None:
            asyncio.run(tills.read_topic(bootstrap))
        else:
            tills.read_list(listed_in)
        if not tills.is_whole:
            _print(console, _("The topic no longer has everything of those days: what it has lost shows up as extra."))
        found = _Comparison(api, console, tills, began).all_days(first, last)
    if found:
        text = ngettext(
            "{n} difference between the tills and the ledger", "{n} differences between the tills and the ledger", found
        )
        raise Trouble(text.format(n=found))


class _Comparison:
    """Of what the tills said with what the ledger has, a store and a day at a time."""

    def __init__(self, api: ServiceApi, console: Console, tills: TillReceipts, began: datetime) -> None:
        self.api = api
        self.console = console
        self.tills = tills
        self.began = began
        """What the ledger has entered since is not missed at the tills: their topic was read before."""

    def all_days(self, first: date, last: date) -> int:
        """Tell the differences, day by day; gives how many there are."""
        published = self.tills.sums()
        found = receipts = returns = 0
        for each in self.tills.unreadable():
            found += 1
            line = _("record {place} on the topic is no purchase: {reason} ({detail})")
            _print(self.console, line.format(**each._asdict()))
        for day in (date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1)):
            kept = _by_store(day, _sums_of(self.api, day, self.tills.store_id)["items"])
            for of in sorted({*kept, *(each for each in published if each.day == day)}):
                sum_of_tills, sum_of_ledger = published.get(of, Sum()), kept.get(of, Sum())
                receipts, returns = receipts + sum_of_tills.receipts, returns + sum_of_tills.returns
                if sum_of_tills != sum_of_ledger or not self.tills.has_contents:
                    found += self._one_store(of, sum_of_tills, sum_of_ledger)
        if not found:
            line = _("The tills and the ledger agree: receipts {receipts}, returns {returns}, no difference.")
            _print(self.console, line.format(receipts=figure(receipts), returns=figure(returns)))
        return found

    def _one_store(self, of: StoreDay, sum_of_tills: Sum, sum_of_ledger: Sum) -> int:
        kept = {each["receipt_id"]: each for each in _receipts(self.api, of)}
        found = list(compared(self.tills.receipts(of), kept))
        if self.tills.has_contents:
            found += compared_returns(self.tills.returns(of), kept)
        told = list(self._told(found))
        if told:
            line = _(
                "{day}, store {store}: the tills say {tills} for {tills_minor}, the ledger {ledger} for {ledger_minor}"
            )
            figures = {
                "tills": figure(sum_of_tills.receipts),
                "tills_minor": figure(sum_of_tills.total_minor),
                "ledger": figure(sum_of_ledger.receipts),
                "ledger_minor": figure(sum_of_ledger.total_minor),
            }
            _print(self.console, line.format(day=of.day, store=of.store_id, **figures))
        for each in told:
            _print(self.console, f"  {each}")
        return len(told)

    def _told(self, differences: Iterable[Difference]) -> Iterator[str]:
        """A line for each that is one still when looked at closely."""
        for some in _in_pieces(differences, ASKED_AT_ONCE):
            missing = [each.published for each in some if each.kind == "missing" and each.published]
            where = self._where(missing) if missing and self.tills.has_contents else None
            entered = self._entered(missing)
            for each in some:
                line = self._line(each, entered, where)
                if line is not None:
                    yield f"{_name(each)}: {line}"

    def _line(self, of: Difference, entered: Mapping[str, Kept], where: "_Where | None") -> str | None:
        match of:
            case Difference("missing", published=Published() as published):
                kept = as_entered(published, entered.get(of.receipt_id))
                if kept is not None:
                    return None if is_same(published, kept) else _line_elsewhere(published, kept)
                return _("is not in the ledger") if where is None else where.line(published)
            case Difference("extra", kept=dict() as kept):
                if datetime.fromisoformat(kept["entered_at"]) >= self.began:
                    return None
                return _("is in the ledger, but no till published it")
            case Difference("differs", published=Published() as published, kept=dict() as kept):
                return _line_elsewhere(published, kept)
        return _("was published more than once with other content; the ledger has the first that it heard")

    def _entered(self, missing: Sequence[Published]) -> dict[str, Kept]:
        """Those that are in the ledger after all: in another store or day, or only since a moment."""
        found = self.api.get("loyalty", "/reconciliation/records", receipt_id=_receipt_ids(missing)) if missing else {}
        return {each["receipt_id"]: each for each in found.get("receipts", ())}

    def _where(self, missing: Sequence[Published]) -> "_Where":
        waiting: dict[str, Kept] = {}
        dead: dict[str, Kept] = {}
        for places in _in_pieces((place for each in missing for place in each.places), PLACES_AT_ONCE):
            found = self.api.get("loyalty", "/reconciliation/records", place=places)
            waiting |= {_place(each): each for each in found["waiting"]}
            dead |= {_place(each): each for each in found["dead_letters"]}
        return _Where(self.tills.committed, waiting, dead)


class _Where(NamedTuple):
    """Where records are that the ledger does not have, by their places on the topic."""

    committed: Mapping[int, int]
    waiting: Mapping[str, Kept]
    dead: Mapping[str, Kept]

    def line(self, published: Published) -> str:
        """For people."""
        for place in published.places:
            if place in self.waiting:
                return _("waits for {awaits} since {since}").format(**self.waiting[place])
        for place in published.places:
            partition, offset = map(int, place.split(":"))
            if offset >= self.committed.get(partition, 0):
                return _("is not heard yet (record {place} lies behind what loyalty has committed)").format(place=place)
        letters = [self.dead[place] for place in published.places if place in self.dead]
        if letters:
            letter = next((each for each in letters if each["state"] == "kept"), letters[-1])
            return _("is a dead letter ({state}): {reason}: {detail}").format(**letter)
        return _("IS LOST: published ({places}), heard, and nowhere").format(places=", ".join(published.places))


def _line_elsewhere(published: Published, kept: Kept) -> str:
    if published.return_id is not None:
        return _("published, the ledger has other content: {ledger_minor}").format(
            ledger_minor=figure(kept["total_minor"])
        )
    return _("published for {tills_minor}, the ledger has other content: {ledger_minor}, store {store}, {day}").format(
        tills_minor=figure(published.total_minor),
        ledger_minor=figure(kept["total_minor"]),
        store=kept["store_id"],
        day=kept["day"],
    )


def _name(of: Difference) -> str:
    if of.return_id is None:
        return _("receipt {receipt}").format(receipt=of.receipt_id)
    return _("receipt {receipt}, return {back}").format(receipt=of.receipt_id, back=of.return_id)


def _receipt_ids(published: Iterable[Published]) -> list[str]:
    return list(dict.fromkeys(each.receipt_id for each in published))


def _place(record: Kept) -> str:
    return f"{record['partition']}:{record['offset']}"


def _sums_of(api: ServiceApi, day: date, store_id: str | None) -> Any:
    asked: dict[str, Any] = {"from": day.isoformat(), "to": day.isoformat(), "store_id": store_id}
    return api.get("loyalty", "/reconciliation/stores", timeout_s=SUMS_S, **asked)


def _by_store(day: date, items: Iterable[Kept]) -> dict[StoreDay, Sum]:
    """A store that takes several currencies has a line for each."""
    found: dict[StoreDay, Sum] = {}
    for each in items:
        before = found.get(of := StoreDay(day, each["store_id"]), Sum())
        found[of] = Sum(
            before.receipts + each["receipts"],
            before.total_minor + each["total_minor"],
            before.digest + int(each["digest"]),
            before.returns + each["returns"],
            before.returns_digest + int(each["returns_digest"]),
        )
    return found


def _receipts(api: ServiceApi, of: StoreDay) -> Iterator[Kept]:
    cursor = None
    while True:
        asked: dict[str, Any] = {"day": of.day.isoformat(), "store_id": of.store_id, "limit": PAGE, "cursor": cursor}
        page = api.get("loyalty", "/reconciliation/receipts", **asked)
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return


def _in_pieces(items: Iterable[T], most: int) -> Iterator[list[T]]:
    left = iter(items)
    while piece := list(islice(left, most)):
        yield piece


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
