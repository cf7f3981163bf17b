"""A setting that cannot be ends a service at its start: read later, in a handler, it would cost records."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("service", "setting", "value"),
    [
        ("customers", "KOPILKA_CUSTOMER_TIME_ZONE", "Europe/Nowhere"),
        ("feedback", "KOPILKA_NPS_PAUSE_DAYS", "-1"),
        ("messaging", "KOPILKA_NIGHT_BEGINS_H", "24"),
        ("segmentation", "KOPILKA_RFM_EVERY_S", "never"),
    ],
)
def test_a_wrong_setting_ends_the_service_at_once_and_is_named(service: str, setting: str, value: str) -> None:
    started = subprocess.run(
        [sys.executable, "-m", f"services.{service}", "--help"],
        env=os.environ | {setting: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert started.returncode != 0
    assert setting.removeprefix("KOPILKA_").lower() in started.stderr
