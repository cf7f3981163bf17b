"""The customer's own clock, and their night: nobody is woken by what can wait for the morning."""

from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Night(NamedTuple):
    """From and until which hour of their own clock nobody is written to; there is none where the two are the same."""

    begins_h: int
    ends_h: int

    def holds(self, hour: int) -> bool:
        """Whether the hour is one of the night, which goes over midnight or not."""
        if self.begins_h <= self.ends_h:
            return self.begins_h <= hour < self.ends_h
        return hour >= self.begins_h or hour < self.ends_h


def zone_of(name: str) -> ZoneInfo:
    """UTC where this machine knows no such zone: no customer goes without news for it."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return ZoneInfo("UTC")


def morning_after(now: datetime, time_zone: str, night: Night) -> datetime | None:
    """When the customer's night is over; None by day."""
    zone = zone_of(time_zone)
    local = now.astimezone(zone)
    if not night.holds(local.hour):
        return None
    day = local.date() if local.hour < night.ends_h else local.date() + timedelta(days=1)
    return datetime.combine(day, time(night.ends_h), zone).astimezone(UTC)
