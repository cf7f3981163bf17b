"""Messaging's own settings, read from the environment (`KOPILKA_…`)."""

from functools import cache
from typing import Self

from pydantic import Field, model_validator

from chassis.telegram_settings import TelegramSettings
from services.messaging.nights import Night


class MessagingSettings(TelegramSettings):
    """What the people who run messaging may change without touching its code."""

    telegram_messages_per_s: float = Field(
        25,
        gt=0,
        le=30,
        description="Most messages a second to all chats together, over all instances. Telegram allows about 30; "
        "what the bot answers by itself counts too.",
    )
    telegram_chat_interval_s: float = Field(
        1, ge=0, description="From the answer to one message until the next one to the same chat. Telegram asks for 1."
    )
    telegram_timeout_s: float = Field(
        10, gt=0, description="A request that has no answer for so long has an unknown outcome."
    )
    telegram_lease_s: float = Field(
        45, gt=0, description="A message whose process has fallen silent for so long while sending is unknown."
    )
    dispatch_poll_s: float = Field(0.25, gt=0, description="How often an idle dispatcher looks by itself.")
    night_begins_h: int = Field(
        21,
        ge=0,
        le=23,
        description="From this hour of the customer's own clock, news that can wait for the morning wait for it.",
    )
    night_ends_h: int = Field(
        9, ge=0, le=23, description="At this hour they are sent; the same as the one before: there is no night."
    )

    @model_validator(mode="after")
    def _outlasts_a_request(self) -> Self:
        if self.telegram_lease_s <= self.telegram_timeout_s:
            raise ValueError("KOPILKA_TELEGRAM_LEASE_S must be more than KOPILKA_TELEGRAM_TIMEOUT_S")
        return self

    @property
    def night(self) -> Night:
        """When nobody is written to who can be told in the morning."""
        return Night(self.night_begins_h, self.night_ends_h)


@cache
def messaging_settings() -> MessagingSettings:
    """The settings of this process."""
    return MessagingSettings()
