"""Which way a message may go, and why not: the one place where consent is decided."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Self

from chassis.transaction import Row
from contracts.fields import Channel, Language

TELEGRAM: Final[Channel] = "telegram"
Purpose = Literal["service", "advertising"]
Obstacle = Literal["expired", "no_channel", "unreachable", "no_consent"]


@dataclass(frozen=True, slots=True)
class Reach:
    """How a customer can be reached: a row of `contacts`."""

    language: Language
    time_zone: str
    telegram_chat_id: int | None
    consents: Collection[str]
    unreachable: Collection[str]
    is_erased: bool

    @classmethod
    def of_row(cls, row: Row) -> Self:
        """Of a row that has those columns."""
        return cls(
            row.language,
            row.time_zone,
            row.telegram_chat_id,
            row.consents,
            row.unreachable,
            row.erased_at is not None,
        )


def obstacle(reach: Reach | None, *, purpose: Purpose, expires_at: datetime | None, now: datetime) -> Obstacle | None:
    """Why the message may not go by Telegram now; None where it may. No advertising goes without recorded consent."""
    if expires_at is not None and expires_at <= now:
        return "expired"
    if reach is None or reach.telegram_chat_id is None:
        return "no_channel"
    if TELEGRAM in reach.unreachable:
        return "unreachable"
    if purpose != "service" and TELEGRAM not in reach.consents:
        return "no_consent"
    return None


def status_of(hindrance: Obstacle) -> Literal["failed", "expired"]:
    """The status of a message that has met the obstacle."""
    return "expired" if hindrance == "expired" else "failed"
