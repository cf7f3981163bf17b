"""Which way a message may go, and why not: the one place where consent is decided."""

from collections.abc import Collection
from datetime import datetime
from typing import Final, Literal

from contracts.fields import Channel

TELEGRAM: Final[Channel] = "telegram"
Purpose = Literal["service", "advertising"]
Obstacle = Literal["expired", "no_channel", "no_consent"]


def obstacle(
    *,
    telegram_chat_id: int | None,
    consents: Collection[str],
    purpose: Purpose,
    expires_at: datetime | None,
    now: datetime,
) -> Obstacle | None:
    """Why the message may not go by Telegram now; None where it may. No advertising goes without recorded consent."""
    if expires_at is not None and expires_at <= now:
        return "expired"
    if telegram_chat_id is None:
        return "no_channel"
    if purpose != "service" and TELEGRAM not in consents:
        return "no_consent"
    return None


def status_of(hindrance: Obstacle) -> Literal["failed", "expired"]:
    """The status of a message that has met the obstacle."""
    return "expired" if hindrance == "expired" else "failed"
