"""What the people who run segmentation may change; what a chain changes while it runs is in `window.py`."""

from functools import cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SegmentationSettings(BaseSettings):
    """Read from the environment (`KOPILKA_…`)."""

    model_config = SettingsConfigDict(env_prefix="KOPILKA_", frozen=True, extra="ignore")

    rfm_every_s: float = Field(60, ge=1, description="How often segmentation scores all customers anew, seconds.")


@cache
def segmentation_settings() -> SegmentationSettings:
    """The settings of this process."""
    return SegmentationSettings()
