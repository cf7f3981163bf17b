"""The settings of the customers service."""

from functools import cache
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.fields import Language
from services.customers.profile_fields import known_time_zone


class CustomersSettings(BaseSettings):
    """What a customer is given who names nothing else."""

    model_config = SettingsConfigDict(env_prefix="KOPILKA_", frozen=True, extra="ignore")

    customer_language: Language = Field("ru", description="Language of a customer who named none.")
    customer_time_zone: Annotated[str, AfterValidator(known_time_zone)] = Field(
        "Europe/Moscow", description="IANA time zone of a customer who named none: quiet hours are kept in it."
    )


@cache
def customers_settings() -> CustomersSettings:
    """The settings of this process."""
    return CustomersSettings()
