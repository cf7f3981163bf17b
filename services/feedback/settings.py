"""Feedback's own settings, read from the environment (`KOPILKA_…`)."""

from datetime import timedelta
from functools import cache
from typing import Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

SANDBOX_API: Final = "http://127.0.0.1:8110"
REAL_API: Final = "https://api.telegram.org"
SANDBOX_BOT: Final = "8110:sandbox"
"""The token that the sandbox knows its one bot by; it opens nothing anywhere else."""


class FeedbackSettings(BaseSettings):
    """What the people who run feedback may change without touching its code."""

    model_config = SettingsConfigDict(env_prefix="KOPILKA_", frozen=True, extra="ignore", env_ignore_empty=True)

    telegram_api: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Address of the Telegram Bot API; by default Telegram's own where a token is given, "
        f"else the sandbox's ({SANDBOX_API}).",
    )
    telegram_token: SecretStr | None = Field(
        None, description="Token of the Telegram bot; without it the sandbox plays Telegram."
    )
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
    def bot_api(self) -> str:
        """Where the bot speaks to."""
        return (self.telegram_api or (REAL_API if self.telegram_token else SANDBOX_API)).rstrip("/")

    @property
    def bot_token(self) -> str:
        """Which bot it is."""
        return self.telegram_token.get_secret_value() if self.telegram_token else SANDBOX_BOT

    @property
    def nps_pause(self) -> timedelta:
        """The least time between two questions to a customer."""
        return timedelta(days=self.nps_pause_days)


@cache
def feedback_settings() -> FeedbackSettings:
    """The settings of this process."""
    return FeedbackSettings()
