"""Limits against fraud: what is counted, and what goes beyond.

A limit is broken by what makes some window of its length (any 60 minutes, or 24 hours) hold more than it allows. Time
is the purchases' and returns' own, so that receipts of an offline till are counted where they belong, in whatever order
they come; what was judged before is not judged again. Counted are all receipts of the ledger, later cancelled ones
among them, and of `points_earned` what they earned in the end, smallest units of all currencies together. A card is
counted within its customer's purchases: one that has passed to somebody else begins anew.

`unmatched_returns`: returns and cancellations of a card, phone or customer that is known, whose purchase is not in the
ledger when they come. Each is counted as long as its purchase has not come; one of a card that nobody has is not, for
its purchase may wait as well, and there are no points at stake.

How exact: per card and customer exact, for the account's lock lets one transaction count after another. Hard limits per
terminal are exact by a lock of the terminal, taken after the accounts' and held to the end of the transaction, so that
they slow down transactions that share a terminal (two that block each other, having more accounts to lock in a later
layer, are ended and tried again as ever). Soft ones take no lock: two transactions at the same time do not see each
other's purchases, and what they flag may be too little by those. A quote takes none either: it binds nobody.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from chassis.envelope import content_hash
from chassis.transaction import Transaction
from services.loyalty.pricing import Pricing
from services.loyalty.terms import Limit, Measure, Per, Terms, terms_at

WINDOWS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
OF_CUSTOMER: Final[frozenset[Per]] = frozenset({"card", "customer", "card_at_terminal"})
OF_TERMINAL: Final[frozenset[Per]] = frozenset({"terminal"})

ASKED: Final = "unnest($1::{kind}[], $2::timestamptz[], $3::timestamptz[]) AS asked (subject, after, before)"
PURCHASES: Final = """
SELECT at, card_number, customer_id, terminal_id, 1 AS purchases, points AS points_earned, points_paid AS points_spent
FROM {asked} JOIN purchases ON {subject} = asked.subject AND at > asked.after AND at < asked.before
WHERE completed_at IS NOT NULL
"""
RETURNS: Final = """
SELECT returned_at AS at, card_number, customer_id, terminal_id, 1 AS returns
FROM {asked} JOIN returns ON {subject} = asked.subject AND returned_at > asked.after AND returned_at < asked.before
"""
UNMATCHED: Final = """
SELECT returned_at AS at, NULL AS card_number, NULL AS customer_id, terminal_id, 1 AS unmatched_returns
FROM {asked} JOIN unmatched_returns
     ON {subject} = asked.subject AND returned_at > asked.after AND returned_at < asked.before
"""
HELD: Final = """
SELECT holds.points AS points_spent, card_number, customer_id, terminal_id
FROM holds JOIN purchases USING (receipt_id)
WHERE holds.state = 'held' AND (customer_id = $1 OR terminal_id = $2)
"""
LOCK_TERMINALS: Final = "SELECT pg_advisory_xact_lock(terminal) FROM unnest($1::bigint[]) AS terminal"
SOURCES: Final[Mapping[str, frozenset[Measure]]] = {
    PURCHASES: frozenset({"purchases", "points_earned", "points_spent"}),
    RETURNS: frozenset({"returns"}),
    UNMATCHED: frozenset({"unmatched_returns"}),
}
"""Where what is counted stands."""

Amounts = Mapping[Measure, int]


class Deed(NamedTuple):
    """A purchase or a return: when, by whom and where."""

    at: datetime
    card_number: str | None
    customer_id: UUID | None
    terminal_id: str

    def subject(self, per: Per) -> str | None:
        """Whose deed it is to a limit; None where there is none such."""
        if per == "terminal":
            return self.terminal_id
        if per == "customer":
            return str(self.customer_id) if self.customer_id else None
        if per == "card" or self.card_number is None:
            return self.card_number
        return f"{self.card_number}@{self.terminal_id}"


class Breach(NamedTuple):
    """A limit that was broken, by whom, and how much was counted."""

    limit: Limit
    subject: str
    counted: int


class Tally:
    """Amounts by their time."""

    def __init__(self) -> None:
        self._times: list[datetime] = []
        self._sums: list[int] = [0]

    def add(self, at: datetime, amount: int) -> None:
        place = bisect_right(self._times, at)
        self._times.insert(place, at)
        self._sums.insert(place + 1, self._sums[place] + amount)
        for later in range(place + 2, len(self._sums)):
            self._sums[later] += amount

    def most_around(self, at: datetime, window: timedelta) -> int:
        """The most that any window of that length holds in which the moment lies. A window begins after its length."""
        ends = [at, *self._times[bisect_right(self._times, at) : bisect_left(self._times, at + window)]]
        return max(self._within(end - window, end) for end in ends)

    def _within(self, after: datetime, until: datetime) -> int:
        return self._sums[bisect_right(self._times, until)] - self._sums[bisect_right(self._times, after)]


class Counts:
    """What was done before, by subject; what is done now runs along."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self.kinds = {(limit.per, limit.measure) for limit in limits if limit.window}
        self._tallies: dict[tuple[Per, Measure, str], Tally] = defaultdict(Tally)

    def add(self, deed: Deed, amounts: Amounts, pers: frozenset[Per] = OF_CUSTOMER | OF_TERMINAL) -> None:
        for per, measure in self.kinds:
            subject, amount = deed.subject(per), amounts.get(measure)
            if per in pers and subject and amount:
                self._tallies[per, measure, subject].add(deed.at, amount)

    def breaches(self, deed: Deed, amounts: Amounts, limits: Iterable[Limit]) -> list[Breach]:
        """The limits that such a deed breaks, not having been added; what it adds nothing to, it does not break."""
        broken = []
        for limit in limits:
            subject, amount = deed.subject(limit.per), amounts.get(limit.measure)
            if subject is None or not amount:
                continue
            counted = amount
            if limit.window:
                tally = self._tallies[limit.per, limit.measure, subject]
                counted += tally.most_around(deed.at, WINDOWS[limit.window])
            if counted > limit.most:
                broken.append(Breach(limit, subject, counted))
        return broken


def judge(
    counts: Counts, deed: Deed, amounts: Amounts, pricing: Pricing, limits: Sequence[Limit]
) -> tuple[Pricing, list[Breach]]:
    """Which limits a completed purchase breaks, and what it earns then: nothing beyond a hard one. It is counted."""
    amounts = {**amounts, "purchases": 1, "points_earned": pricing.points}
    broken = counts.breaches(deed, amounts, limits)
    hard = next((each.limit.code for each in broken if each.limit.hard), None)
    if hard is not None and pricing.withheld is None:
        pricing = replace(pricing, points=0, line_points=[0] * len(pricing.line_points), withheld=withheld_by(hard))
    counts.add(deed, {**amounts, "points_earned": pricing.points})
    return pricing, broken


def withheld_by(code: str) -> str:
    """Why a purchase earned nothing, where it was for a limit."""
    return f"limit_{code}"


async def count_purchases(
    tx: Transaction, deeds: Iterable[Deed], terms: Sequence[Terms], *, binds: bool = True
) -> Counts | None:
    """What had been bought before these, whose accounts are locked; None where no limit looks at any of them.

    Where there are no limits this is neither a query nor a loop over the purchases. `binds`: whether it matters that
    nobody else counts at the same time.
    """
    if not any(each.limits for each in terms):
        return None
    deeds = list(deeds)
    in_force = {each.id: each for each in (terms_at(terms, deed.at) for deed in deeds)}
    limits = [limit for each in in_force.values() for limit in each.limits if limit.measure in OF_PURCHASES]
    if not limits:
        return None
    if binds and any(limit.hard and limit.window and limit.per == "terminal" for limit in limits):
        await _lock_terminals(tx, deeds)
    return await _count(tx, PURCHASES, deeds, limits)


async def count_returns(tx: Transaction, deed: Deed, limits: Iterable[Limit]) -> Counts:
    """What had come back before."""
    return await _count(tx, RETURNS, [deed], limits)


async def count_unmatched(tx: Transaction, deed: Deed, limits: Iterable[Limit]) -> Counts:
    """What had come back before and waits for its purchase."""
    return await _count(tx, UNMATCHED, [deed], limits)


async def add_held(tx: Transaction, counts: Counts, deed: Deed) -> None:
    """Points that are held for other purchases count as spent."""
    if not any(measure == "points_spent" for _, measure in counts.kinds):
        return
    for row in await tx.sql(HELD, deed.customer_id, deed.terminal_id):
        held = Deed(deed.at, row.card_number, row.customer_id, row.terminal_id)
        counts.add(held, {"points_spent": row.points_spent})


OF_PURCHASES: Final[frozenset[Measure]] = SOURCES[PURCHASES] | {"receipt_total_minor"}


async def _count(tx: Transaction, source: str, deeds: Sequence[Deed], limits: Iterable[Limit]) -> Counts:
    looking = [limit for limit in limits if limit.measure in SOURCES[source]]
    counts = Counts(looking)
    for column, kind, pers in (("customer_id", "uuid", OF_CUSTOMER), ("terminal_id", "text", OF_TERMINAL)):
        windows = [WINDOWS[limit.window] for limit in looking if limit.window and limit.per in pers]
        spans = _spans([(getattr(deed, column), deed.at) for deed in deeds], max(windows)) if windows else []
        if spans:
            query = source.format(asked=ASKED.format(kind=kind), subject=column)
            for row in await tx.sql(query, *map(list, zip(*spans, strict=True))):
                deed = Deed(row.at, row.card_number, row.customer_id, row.terminal_id)
                counts.add(deed, {measure: row[measure] for measure in SOURCES[source]}, pers)
    return counts


def _spans(moments: Iterable[tuple[Any, datetime]], window: timedelta) -> list[tuple[Any, datetime, datetime]]:
    """By subject, the times that windows around these moments reach, each time once."""
    of: dict[Any, list[datetime]] = defaultdict(list)
    for subject, at in moments:
        if subject is not None:
            of[subject].append(at)
    spans = []
    for subject, times in of.items():
        times.sort()
        begin = last = times[0]
        for at in times[1:]:
            if at - last >= 2 * window:
                spans.append((subject, begin - window, last + window))
                begin = at
            last = at
        spans.append((subject, begin - window, last + window))
    return spans


async def _lock_terminals(tx: Transaction, deeds: Iterable[Deed]) -> None:
    """One transaction at a time counts at a terminal, until it ends; in one order, so that two do not block another."""
    locks = {content_hash(f"limits of {deed.terminal_id}".encode()) for deed in deeds}
    await tx.sql(LOCK_TERMINALS, sorted(locks))
