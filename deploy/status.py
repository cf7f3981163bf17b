"""How the house is doing, seen from outside its processes: over HTTP, on the bus and in the databases."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self

import asyncpg
import httpx
import sqlalchemy as sa

from chassis.database import Database
from chassis.dead_letter_settling import count_kept
from chassis.settings import Settings
from chassis.topic_reading import Rate, TopicReader
from deploy.settings import SERVICES, RunSettings

TIMEOUT_S = 2.0
PURCHASES = "pos.purchases"
CREDITOR = "loyalty"


class State(StrEnum):
    """Of one part. `READY` alone is well."""

    READY = "ready"
    STARTING = "starting"
    NOT_READY = "not ready"
    RESTARTING = "restarting"
    DOWN = "down"


@dataclass(frozen=True)
class PartStatus:
    """One line of the table. What is not known, or has no meaning for the part, is None."""

    name: str
    state: State
    url: str | None = None
    lag: int | None = None
    dead_letters: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Status:
    """Everything at one moment. Rates are purchases a second over the last ten seconds."""

    parts: list[PartStatus]
    purchases: int | None = None
    published_per_s: float | None = None
    credited_per_s: float | None = None

    @property
    def is_well(self) -> bool:
        return all(part.state is State.READY for part in self.parts)


@dataclass
class _Bus:
    """What one look at the topics found."""

    reachable: bool
    lags: Mapping[str, int] = field(default_factory=dict)
    purchases: int | None = None
    credited: int | None = None


class Watch:
    """`async with Watch(settings) as watch: status = await watch.look()`, as often as one likes. Never raises."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        # A connection that is kept may have been closed by the service in the meantime, which is no news of its health.
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, limits=httpx.Limits(max_keepalive_connections=0))
        self._server = _server_itself(settings)
        self._databases = {service: Database(service, settings.of_services) for service in SERVICES}
        self._reader: TopicReader | None = None
        self._published = Rate()
        self._credited = Rate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._forget_reader()
        await self._http.aclose()
        for database in (self._server, *self._databases.values()):
            await database.close()

    async def look(self) -> Status:
        bus, database_answers, letters, services = await asyncio.gather(
            self._look_at_bus(),
            self._look_at_server(),
            self._count_dead_letters(),
            asyncio.gather(*(self._look_at_service(name) for name in SERVICES)),
        )
        infrastructure = [
            PartStatus("kafka", State.READY if bus.reachable else State.DOWN, self._settings.bootstrap),
            PartStatus(
                "postgres", State.READY if database_answers else State.DOWN, _without_password(self._settings.dsn)
            ),
        ]
        return Status(
            parts=infrastructure
            + [
                PartStatus(
                    name,
                    state,
                    self._settings.url(name),
                    lag=bus.lags.get(name),
                    dead_letters=letters.get(name),
                    note=note,
                )
                for name, (state, note) in zip(SERVICES, services, strict=True)
            ],
            purchases=bus.purchases,
            published_per_s=None if bus.purchases is None else self._published.see(bus.purchases),
            credited_per_s=None if bus.credited is None else self._credited.see(bus.credited),
        )

    async def answers(self, url: str) -> bool:
        """Whether anything speaks HTTP there."""
        try:
            await self._http.get(url)
        except httpx.HTTPError:
            return False
        return True

    async def _look_at_service(self, name: str) -> tuple[State, str]:
        try:
            answer = await self._http.get(f"{self._settings.url(name)}/readyz")
        except httpx.ConnectError:
            return State.DOWN, ""
        except httpx.HTTPError as error:
            return State.NOT_READY, type(error).__name__
        if answer.is_success:
            return State.READY, ""
        return State.NOT_READY, _reasons(answer)

    async def _look_at_server(self) -> bool:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._server.is_reachable()
        except TimeoutError:
            return False

    async def _count_dead_letters(self) -> dict[str, int]:
        """Of each service whose database answers."""
        counts = await asyncio.gather(*(self._count_of(name) for name in SERVICES))
        return {name: count for name, count in zip(SERVICES, counts, strict=True) if count is not None}

    async def _count_of(self, service: str) -> int | None:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._databases[service].reading() as tx:
                return await count_kept(tx)
        except (sa.exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return None

    async def _look_at_bus(self) -> _Bus:
        try:
            async with asyncio.timeout(TIMEOUT_S * 3):
                return await self._read_bus()
        except Exception:  # whatever a client library makes of a broker that is away, the answer is the same
            await self._forget_reader()
            return _Bus(reachable=False)

    async def _read_bus(self) -> _Bus:
        reader = await self._connected()
        names = await reader.names()
        heard = {group: topics_heard(group, names) for group in SERVICES}
        ends = await reader.ends({PURCHASES, *(topic for topics in heard.values() for topic in topics)})
        states = {group: await reader.group_states(group, topics, ends) for group, topics in heard.items()}
        credited = states[CREDITOR].get(PURCHASES)
        return _Bus(
            reachable=True,
            lags={group: sum(state.lag for state in of.values()) for group, of in states.items() if of},
            purchases=sum(end for partition, end in ends.items() if partition.topic == PURCHASES),
            credited=credited.done if credited else None,
        )

    async def _connected(self) -> TopicReader:
        if self._reader is None:
            reader = TopicReader(self._settings.bootstrap)
            await reader.__aenter__()
            self._reader = reader
        return self._reader

    async def _forget_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with contextlib.suppress(Exception):
                await reader.__aexit__(None, None, None)


def topics_heard(group: str, names: list[str]) -> list[str]:
    """The topics that have a dead-letter topic of the group: exactly those that it subscribes to."""
    ending = f".{group}.dlq"
    return [name.removesuffix(ending) for name in names if name.endswith(ending)]


def _ready(answers: bool) -> State:
    return State.READY if answers else State.DOWN


def _reasons(answer: httpx.Response) -> str:
    """What /readyz says is wrong, in one line."""
    try:
        document = answer.json()
    except ValueError:
        return f"HTTP {answer.status_code}"
    reasons = document.get("reasons") or document.get("detail") or f"HTTP {answer.status_code}"
    return "; ".join(reasons) if isinstance(reasons, list) else str(reasons)


def _server_itself(settings: RunSettings) -> Database:
    """The database that the setting names, which is there even before the services' own are."""
    named = sa.make_url(settings.dsn).database or "postgres"
    return Database(named, Settings(database=settings.dsn, database_prefix=""))


def _without_password(dsn: str) -> str:
    url = sa.make_url(dsn)
    return f"{url.host}:{url.port or 5432}"
