"""When points can be spent and when they burn: decisions on the terms and a moment."""

import calendar
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from services.loyalty.terms import Rules

MONTHS_IN: Final = {"month": 1, "quarter": 3, "year": 12}


def activates_at(rules: Rules, earned_at: datetime) -> datetime | None:
    """From when points that were earned then can be spent; None: at once."""
    wait = timedelta(hours=rules.activates_after_h)
    if rules.activates_after_return_period:
        wait = max(wait, timedelta(days=rules.return_period_days))
    return earned_at + wait if wait else None


def begins_and_ends(rules: Rules, earned_at: datetime, now: datetime) -> tuple[datetime | None, datetime | None]:
    """From when points can be spent that were earned then, None: now; and when they burn, None: never."""
    activation = activates_at(rules, earned_at)
    begins = activation if activation is not None and activation > now else None
    return begins, expires_at(rules, activation or earned_at)


def expires_at(rules: Rules, begins_at: datetime) -> datetime | None:
    """When points burn whose life begins then; None: never.

    Calendar months and periods are those of the programme's time zone: a month after the 31st of January ends with
    February, and what ends with a year ends at its midnight there.
    """
    if rules.lot_life_days is None and not rules.lot_life_months and rules.lots_end_with is None:
        return None
    zone = ZoneInfo(rules.time_zone)
    end = _months_later(begins_at.astimezone(zone), rules.lot_life_months).astimezone(UTC)
    end += timedelta(days=rules.lot_life_days or 0)
    if rules.lots_end_with is not None:
        end = _end_of_period(end.astimezone(zone), MONTHS_IN[rules.lots_end_with]).astimezone(UTC)
    return end


def _months_later(moment: datetime, months: int) -> datetime:
    years, month = divmod(moment.month - 1 + months, 12)
    year = moment.year + years
    last_day = calendar.monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last_day))


def _end_of_period(moment: datetime, months: int) -> datetime:
    """The first midnight after the period of so many months in which the moment lies."""
    begin = moment.replace(
        month=(moment.month - 1) // months * months + 1, day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return _months_later(begin, months)
