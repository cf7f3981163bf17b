"""Feedback's own settings, read from the environment (`KOPILKA_…`)."""

from datetime import timedelta
from functools import cache

from pydantic import Field

from chassis.telegram_settings import TelegramSettings


class FeedbackSettings(TelegramSettings):
    """What the people who run feedback may change without touching its code."""

    telegram_poll_s: int = Field(
        25, ge=1, le=50, description="How long one request for updates waits for something to happen."
    )
    telegram_poll_lease_s: float = Field(
        10,
        ge=1,
        description="The bot's updates are taken by one process at a time; another takes over when it was silent for "
        "so long.",
    )
    nps_pause_days: float = Field(
        14, ge=0, le=3650, description="A customer is asked the NPS question at most once in so many days; 0: always."
    )

    @property
    def nps_pause(self) -> timedelta:
        """The least time between two questions to a customer."""
        return timedelta(days=self.nps_pause_days)


@cache
def feedback_settings() -> FeedbackSettings:
    """The settings of this process."""
    return FeedbackSettings()
