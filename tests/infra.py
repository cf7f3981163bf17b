"""The Kafka and the PostgreSQL that tests run on: embedded and thrown away, or testcontainers'."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, Protocol

import pytest

from deploy.local.kafka import EmbeddedKafka
from deploy.local.ports import free_port
from deploy.local.postgres import EmbeddedPostgres


class Kafka(Protocol):
    """A broker that a test may stop and start again: the address stays the same."""

    @property
    def bootstrap(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class Postgres(Protocol):
    """A server that a test may stop and start again: the address stays the same."""

    def dsn(self, database: str) -> str: ...
    def start(self) -> None: ...
    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None: ...
    def kill(self) -> None: ...
    def ensure_database(self, name: str) -> None: ...
    def drop_database(self, name: str) -> None: ...


@contextmanager
def throw_away_kafka() -> Iterator[Kafka]:
    if in_containers():
        from tests.infra_containers import ContainerKafka  # noqa: PLC0415 - needs Docker's client

        kafka: Kafka = ContainerKafka(free_port())
        with ExitStack() as stack:
            kafka.start()
            stack.callback(kafka.kill)
            yield kafka
        return
    with _throw_away_folder("kafka") as folder:
        embedded = EmbeddedKafka(folder, free_port())
        embedded.start()
        try:
            yield embedded
        finally:
            embedded.kill()


@contextmanager
def throw_away_postgres() -> Iterator[Postgres]:
    """fsync stays on, as in production: what a test measures or races against has its real duration."""
    if in_containers():
        from tests.infra_containers import ContainerPostgres  # noqa: PLC0415

        postgres: Postgres = ContainerPostgres(free_port())
        with ExitStack() as stack:
            postgres.start()
            stack.callback(postgres.kill)
            yield postgres
        return
    with _throw_away_folder("postgres") as folder:
        embedded = EmbeddedPostgres(folder, free_port())
        embedded.start()
        try:
            yield embedded
        finally:
            embedded.kill()


def in_containers() -> bool:
    return os.environ.get("KOPILKA_TEST_INFRA") == "containers"


@contextmanager
def _throw_away_folder(name: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"kopilka-test-{name}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Servers:
    """Both servers, started at the same time; the one that is asked for is waited for."""

    def __init__(self, *, kafka: bool, postgres: bool) -> None:
        self._kafka_life = throw_away_kafka()
        self._postgres_life = throw_away_postgres()
        self._pool = ThreadPoolExecutor(2)
        self._kafka = self._pool.submit(self._kafka_life.__enter__) if kafka else None
        self._postgres = self._pool.submit(self._postgres_life.__enter__) if postgres else None

    def kafka(self) -> Kafka:
        assert self._kafka is not None
        return self._kafka.result()

    def postgres(self) -> Postgres:
        assert self._postgres is not None
        return self._postgres.result()

    def end(self) -> None:
        self._pool.shutdown()
        for started, life in ((self._kafka, self._kafka_life), (self._postgres, self._postgres_life)):
            if started is not None and started.exception() is None:
                life.__exit__(None, None, None)


def fresh_databases(postgres: Postgres) -> Iterator[Callable[[str], str]]:
    """Yields `database(hint) -> dsn` of a new, empty database with a name of its own; drops them at the end."""
    made: list[str] = []

    def database(hint: str) -> str:
        name = f"{hint}_{uuid.uuid4().hex[:12]}"
        postgres.ensure_database(name)
        made.append(name)
        return postgres.dsn(name)

    yield database
    for name in made:
        postgres.drop_database(name)


def wanted(session: pytest.Session, fixture: str) -> bool:
    """Does any collected test take this fixture? A run of pure unit tests starts no server."""
    return any(fixture in getattr(item, "fixturenames", ()) for item in session.items)
