"""Changing what the programme promises: a new row of terms, with who set it and what it changed. Nothing is edited."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final
from uuid import UUID
from zoneinfo import available_timezones

import orjson

from chassis.actor import Actor
from chassis.field_faults import N_
from chassis.ids import new_id
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.loyalty import TermsChange, TermsChanged
from services.loyalty.terms import MAIN, Rules, Terms, all_terms

LOCK: Final = "LOCK TABLE terms IN SHARE ROW EXCLUSIVE MODE"
"""Whoever changes terms waits for another one who does; whoever reads them waits for nobody."""
SET: Final = """
INSERT INTO terms (id, in_force_from, set_by, set_at, rules) VALUES ($1, $2, $3, $4, convert_from($5, 'UTF8')::json)
"""


async def change_terms(tx: Transaction, asked: Mapping[str, Any], in_force_from: datetime | None, who: Actor) -> UUID:
    """New terms: the newest ones with these values instead, from now on or from a later moment.

    Raises `Problem` 422 for a moment that is past (what was promised is kept) or before the newest terms begin, and for
    terms that contradict each other, 409 where nothing is different.
    """
    await tx.sql(LOCK)
    newest = (await all_terms(tx))[0]
    begins = in_force_from or tx.now
    _refuse_moment(begins, newest, tx.now)
    rules = Rules(**{**_rules_of(newest), **asked})
    changes = differences(newest, rules)
    if not changes:
        raise Problem(409, "terms_unchanged", "The terms are so already.")
    for problem in contradictions(newest, rules):
        raise problem
    terms_id = new_id()
    await tx.sql(SET, terms_id, begins, str(who), tx.now, rules.model_dump_json().encode())
    tx.say(TermsChanged(terms_id=terms_id, in_force_from=begins, changes=changes, actor=str(who), set_at=tx.now))
    return terms_id


def differences(before: Rules, after: Rules) -> list[TermsChange]:
    """Those of the terms `after` that were something else `before`."""
    was, becomes = before.model_dump(mode="json"), after.model_dump(mode="json")
    return [
        TermsChange(term=term, before=orjson.dumps(was[term]).decode(), after=orjson.dumps(becomes[term]).decode())
        for term in Rules.model_fields
        if getattr(before, term) != getattr(after, term)
    ]


async def history(tx: Transaction) -> Sequence[tuple[Terms, list[TermsChange]]]:
    """The terms of all times, newest first, each with what it changed."""
    terms = await all_terms(tx)
    return [
        (each, differences(older, each) if older is not None else [])
        for each, older in zip(terms, [*terms[1:], None], strict=True)
    ]


def contradictions(before: Rules, rules: Rules) -> Iterator[Problem]:
    """Why these terms cannot hold after those before them, each naming the term and the mend."""
    yield from _of_levels(rules)
    yield from _of_currencies(before, rules)
    yield from _of_establishments(rules)
    yield from _of_account_kinds(before, rules)
    yield from _of_limits(rules)
    if rules.lot_life_days == 0 and not rules.lot_life_months and rules.lots_end_with is None:
        yield _contradiction("lot_life_days", N_("points would burn at once; name a life of a day or more"))
    if rules.lots_live_on_with_activity and rules.lot_life_days is None and not rules.lot_life_months:
        yield _contradiction("lots_live_on_with_activity", N_("points that never burn need no new life"))
    if rules.time_zone not in available_timezones():
        yield _contradiction("time_zone", N_("is no IANA time zone; Europe/Moscow is one"))


def _of_levels(rules: Rules) -> Iterator[Problem]:
    levels = rules.levels
    if levels[0].spent_minor_from != 0:
        yield _contradiction("levels", N_("the first level begins at spent_minor_from 0"))
    if any(lower.spent_minor_from >= higher.spent_minor_from for lower, higher in pairwise(levels)):
        yield _contradiction("levels", N_("each level begins above the one before it"))
    if _has_doubles([level.code for level in levels]):
        yield _contradiction("levels", N_("two levels have the same code"))


def _of_currencies(before: Rules, rules: Rules) -> Iterator[Problem]:
    scales = {currency.code: currency.scale for currency in rules.points_currencies}
    if _has_doubles([currency.code for currency in rules.points_currencies]):
        yield _contradiction("points_currencies", N_("two currencies have the same code"))
    if any(scales.get(currency.code) != currency.scale for currency in before.points_currencies):
        yield _contradiction("points_currencies", N_("a currency that is in use stays, with its scale"))


def _of_establishments(rules: Rules) -> Iterator[Problem]:
    if _has_doubles([each.code for each in rules.establishments]):
        yield _contradiction("establishments", N_("two establishments have the same code"))
    if _has_doubles([store for each in rules.establishments for store in set(each.stores)]):
        yield _contradiction("establishments", N_("a store is in one establishment at most"))


def _of_account_kinds(before: Rules, rules: Rules) -> Iterator[Problem]:
    kinds = {kind.code: kind for kind in rules.account_kinds}
    currencies = {currency.code for currency in rules.points_currencies}
    establishments = {each.code for each in rules.establishments}
    if _has_doubles([kind.code for kind in rules.account_kinds]):
        yield _contradiction("account_kinds", N_("two kinds have the same code"))
    if MAIN not in kinds or kinds[MAIN].establishment is not None:
        yield _contradiction("account_kinds", N_("the kind main is needed, for all establishments"))
    if any(kind.points_currency not in currencies for kind in kinds.values()):
        yield _contradiction("account_kinds", N_("a kind's points_currency is none of points_currencies"))
    if any(kind.establishment is not None and kind.establishment not in establishments for kind in kinds.values()):
        yield _contradiction("account_kinds", N_("a kind's establishment is none of establishments"))
    if any(kind.earns and kind.establishment is None for kind in kinds.values() if kind.code != MAIN):
        yield _contradiction("account_kinds", N_("a kind that earns needs an establishment in which it does"))
    if _has_doubles([kind.establishment for kind in kinds.values() if kind.earns and kind.code != MAIN]):
        yield _contradiction("account_kinds", N_("in an establishment one kind earns at most"))
    for kind in before.account_kinds:
        if kind.code not in kinds or kinds[kind.code].points_currency != kind.points_currency:
            yield _contradiction("account_kinds", N_("a kind that is in use stays, with its currency"))


def _of_limits(rules: Rules) -> Iterator[Problem]:
    if _has_doubles([limit.code for limit in rules.limits]):
        yield _contradiction("limits", N_("two limits have the same code"))
    if any((limit.window is None) != (limit.measure == "receipt_total_minor") for limit in rules.limits):
        yield _contradiction("limits", N_("a limit has a window, but that of receipt_total_minor has none"))
    if any(limit.measure == "unmatched_returns" and limit.per != "terminal" for limit in rules.limits):
        yield _contradiction("limits", N_("unmatched_returns are counted per terminal"))
    if any(limit.hard and limit.measure in ("returns", "unmatched_returns") for limit in rules.limits):
        yield _contradiction("limits", N_("what came back is never refused: a limit of returns is not hard"))


def _has_doubles(values: Sequence[Any]) -> bool:
    return len(set(values)) != len(values)


def _contradiction(term: str, text: str) -> Problem:
    return Problem(422, "terms_contradict", text, field=term)


def _refuse_moment(begins: datetime, newest: Terms, now: datetime) -> None:
    if begins < now:
        raise Problem(
            422, "terms_in_the_past", "What was promised is kept: name a later moment.", field="in_force_from"
        )
    if begins < newest.in_force_from:
        raise Problem(
            422,
            "terms_before_the_newest",
            "Newer terms begin at {moment}; name a moment after it.",
            moment=newest.in_force_from.isoformat(),
            field="in_force_from",
        )


def _rules_of(terms: Terms) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in Rules.model_fields}
