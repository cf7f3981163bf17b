"""How many seeds a run takes: `KOPILKA_SEEDS`, a few where it is not set."""

import os

import pytest

SHORT_RUN_SEEDS = 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(int(os.environ.get("KOPILKA_SEEDS", SHORT_RUN_SEEDS))))
