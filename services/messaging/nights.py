"""The customer's own clock, and their night: nobody is woken by what can wait for the morning."""

from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

MORNING: Final = time(9)
EVENING: Final = time(21)


def zone_of(name: str) -> ZoneInfo:
    """UTC where this machine knows no such zone: no customer goes without news for it."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return ZoneInfo("UTC")


def morning_after(now: datetime, time_zone: str) -> datetime | None:
    """When the customer's night is over; None by day."""
    zone = zone_of(time_zone)
    local = now.astimezone(zone)
    if MORNING <= local.time() < EVENING:
        return None
    day = local.date() if local.time() < MORNING else local.date() + timedelta(days=1)
    return datetime.combine(day, MORNING, zone).astimezone(UTC)
