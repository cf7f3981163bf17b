"""Where the Telegram Bot API is and which bot speaks there: the same for every service that does."""

from typing import Annotated, Final

from pydantic import Field, Secret
from pydantic_settings import BaseSettings, SettingsConfigDict

SANDBOX_API: Final = "http://127.0.0.1:8110"
REAL_API: Final = "https://api.telegram.org"
SANDBOX_BOT: Final = "8110:sandbox"
"""The token that the sandbox knows its one bot by; it opens nothing anywhere else."""


class TelegramSettings(BaseSettings):
    """What the settings of a service that speaks to Telegram begin with."""

    model_config = SettingsConfigDict(
        env_prefix="KOPILKA_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    telegram_api: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Address of the Telegram Bot API; by default Telegram's own where a token is given, "
        f"else the sandbox's ({SANDBOX_API}).",
    )
    telegram_token: Secret[Annotated[str, Field(pattern=r"^[0-9]+:\S+$")]] | None = Field(
        None, description="Token of the Telegram bot; without it the sandbox plays Telegram."
    )

    @property
    def bot_api(self) -> str:
        """Where the bot speaks to."""
        return (self.telegram_api or (REAL_API if self.telegram_token else SANDBOX_API)).rstrip("/")

    @property
    def bot_token(self) -> str:
        """Which bot it is."""
        return self.telegram_token.get_secret_value() if self.telegram_token else SANDBOX_BOT
