"""Fixtures for every test: `kafka` and `postgres`, a `database` of one's own, and servers that may be killed."""

import os
from collections.abc import Callable, Iterator
from typing import Any

os.environ["KOPILKA_LANG"] = "en"  # what a test expects to be told does not depend on who runs it

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.infra import (
    Kafka,
    Postgres,
    Servers,
    fresh_databases,
    throw_away_kafka,
    throw_away_postgres,
    wanted,
)

# No deadline an example: how long it takes says more about the machine than about the code.
hypothesis.settings.register_profile("short", deadline=None)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


WHOLE_SERVICES = ("tests/faults/", "tests/stories/", "test_run.py", "test_through_kafka.py")
"""Tests that start services as processes. They keep a machine busy by themselves, and some say how quick it must be."""


def starts_whole_services(nodeid: str) -> bool:
    return any(part in nodeid for part in WHOLE_SERVICES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest is begun first."""
    items.sort(key=lambda item: not starts_whole_services(item.nodeid))


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Of several test processes one takes the tests of whole services; each other file goes to one that is free."""

    def _split_scope(self, nodeid: str) -> str:
        return "whole services" if starts_whole_services(nodeid) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    session = request.session
    both = Servers(kafka=wanted(session, "kafka"), postgres=wanted(session, "postgres"))
    yield both
    both.end()


@pytest.fixture(scope="session")
def kafka(servers: Servers) -> Kafka:
    """The session's broker. Shared: a test that stops or kills it takes `own_kafka`."""
    return servers.kafka()


@pytest.fixture(scope="session")
def postgres(servers: Servers) -> Postgres:
    """The session's PostgreSQL. Shared: a test that stops or kills it takes `own_postgres`."""
    return servers.postgres()


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Callable[[str], str]]:
    """`database("loyalty")` -> the DSN of a new empty database, dropped after the test."""
    yield from fresh_databases(postgres)


@pytest.fixture(scope="module")
def module_database(postgres: Postgres) -> Iterator[Callable[[str], str]]:
    """As `database`, for a whole module."""
    yield from fresh_databases(postgres)


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[Kafka]:
    """A broker of this module's own, to be stopped and killed. Leave it running."""
    with throw_away_kafka() as kafka:
        yield kafka


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this module's own, to be stopped and killed. Leave it running."""
    with throw_away_postgres() as postgres:
        yield postgres
