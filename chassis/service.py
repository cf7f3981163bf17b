"""A whole service in one process: worker, relay, API and jobs, together or apart."""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import structlog
import typer
import uvicorn
import uvloop
from aiokafka.errors import KafkaError
from fastapi import APIRouter

from chassis.database import Clock, Database, utc_now
from chassis.dead_letters import Cap
from chassis.delivery import Delivery
from chassis.edge import WhoseKey
from chassis.hears import Hears
from chassis.http import build_app, listens_safely
from chassis.jobs import Job, housekeeping, keep_running
from chassis.logs import configure_logs
from chassis.migrations import migrate
from chassis.provisioning import provision, topics_of
from chassis.relay import Announcer, Relay
from chassis.retrying import trying
from chassis.settings import Settings, settings
from chassis.tracing import configure_tracing
from chassis.worker import Worker

log = structlog.get_logger()

PORTS = {"customers": 8101, "loyalty": 8102, "messaging": 8103, "segmentation": 8104, "feedback": 8105}


class Part(StrEnum):
    """A part of a service that may run in a process of its own."""

    WORKER = "worker"
    RELAY = "relay"
    API = "api"
    JOBS = "jobs"


Companion = Callable[[Database, asyncio.Event], Coroutine[None, None, None]]
"""Something else that runs beside the worker until the event is set: a bot's long poll, a dispatcher."""


class Service:
    """What a service is made of. `run()` is its command line: run it, or migrate its database."""

    def __init__(
        self,
        name: str,
        *,
        hears: Hears,
        api: APIRouter,
        jobs: Sequence[Job] = (),
        companions: Sequence[Companion] = (),
        own_keys: Mapping[str, WhoseKey] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.name = name
        self.hears = hears
        self.api = api
        self.jobs = jobs
        self.companions = companions
        self.own_keys = own_keys
        self.clock = clock

    def run(self) -> None:
        """`python -m services.<name> [run --only …| migrate | provision]`."""
        app = typer.Typer(add_completion=False, help=sys.modules["__main__"].__doc__ or self.name)

        @app.callback(invoke_without_command=True)
        def run(
            context: typer.Context,
            only: Annotated[
                list[Part] | None, typer.Option(help="Run this part alone; may be given several times.")
            ] = None,
        ) -> None:
            if context.invoked_subcommand is None:
                self._configure()
                _collect_garbage_seldom()
                uvloop.run(self.serve(settings(), parts=tuple(only or Part)))

        @app.command("migrate", help="Bring the database up to date.")
        def migrate_database() -> None:
            self._configure()
            uvloop.run(self.migrate(settings()))

        @app.command("provision", help="Create the topics that are missing.")
        def provision_topics() -> None:
            self._configure()
            uvloop.run(self.provision(settings()))

        app()

    def _configure(self) -> None:
        configure_logs(self.name, settings())
        configure_tracing(self.name, settings())

    async def migrate(self, settings: Settings) -> None:
        database = Database(self.name, settings)
        try:
            await migrate(database.engine, self.name)
        finally:
            await database.close()

    async def provision(self, settings: Settings) -> None:
        await provision(settings.kafka, topics_of(self.name, self.hears), replication=settings.topic_replication)

    async def serve(
        self, settings: Settings, *, parts: Sequence[Part] = tuple(Part), stop: asyncio.Event | None = None
    ) -> None:
        """Run until `stop` (or SIGTERM, SIGINT where none is given). A part that fails ends the process: start it anew.

        The relay ends last, so that what the other parts said last is published.
        """
        if stop is None:
            stop = _stopped_by_signals()
        listens_safely(settings)
        database = Database(self.name, settings, clock=self.clock)
        process = _Process(self, settings, database, stop)
        log.info("service_starts", parts=list(parts))
        try:
            await process.run(parts)
        finally:
            await process.close()
            log.info("service_stopped")


class _Process:
    """One process of a service: its parts and what they share."""

    def __init__(self, service: Service, settings: Settings, database: Database, stop: asyncio.Event) -> None:
        self.service = service
        self.settings = settings
        self.database = database
        self.stop = stop
        self.for_batches = Database(service.name, settings, clock=service.clock, for_batches=True)
        delivery = Delivery(
            service.name,
            service.hears,
            self.for_batches,
            cap=Cap(settings.dead_letters_cap, timedelta(seconds=settings.dead_letters_window_s)),
        )
        self.worker = Worker(service.name, service.hears, delivery, settings)
        self.relay = Relay(service.name, database, settings)
        self.announcer = Announcer(database)
        for each in (database, self.for_batches):
            each.on_commit_of_words(self._words_were_committed)

    async def run(self, parts: Sequence[Part]) -> None:
        if not await self._provision():
            return
        nothing_more_is_said = asyncio.Event()
        async with asyncio.TaskGroup() as relaying:
            if Part.RELAY in parts:
                relaying.create_task(self.relay.run(nothing_more_is_said))
            try:
                async with asyncio.TaskGroup() as saying:
                    saying.create_task(self.stop.wait())
                    for work in self._works(parts):
                        saying.create_task(work)
            finally:
                nothing_more_is_said.set()

    async def close(self) -> None:
        for each in (self.database, self.for_batches):
            await each.close()

    async def _provision(self) -> bool:
        """Make the topics; False where the service was stopped before Kafka answered."""
        try:
            async for attempt in trying(self.service.name, "provision", gives_up=self.stop.is_set):
                with attempt:
                    await self.service.provision(self.settings)
        except KafkaError:
            if not self.stop.is_set():
                raise
            return False
        return True

    def _works(self, parts: Sequence[Part]) -> Iterator[Coroutine[None, None, None]]:
        if Part.WORKER in parts:
            yield self.worker.run(self.stop)
        if Part.API in parts:
            yield self._serve_http(parts)
        if Part.JOBS in parts:
            for job in (*self.service.jobs, *housekeeping(self.settings)):
                yield keep_running(job, self.database, self.stop)
            for companion in self.service.companions:
                yield companion(self.database, self.stop)

    async def _serve_http(self, parts: Sequence[Part]) -> None:
        async def readiness() -> Sequence[str]:
            return await self._reasons_not_ready(parts)

        app = build_app(
            self.service.name,
            self.service.api,
            self.database,
            settings=self.settings,
            readiness=readiness,
            own_keys=self.service.own_keys,
        )
        port = PORTS.get(self.service.name, 0) if self.settings.http_port is None else self.settings.http_port
        listening = socket.create_server((self.settings.http_host, port), reuse_port=False)
        log.info("http_listens", host=self.settings.http_host, port=listening.getsockname()[1])
        server = _Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=3)
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await self.stop.wait()
        server.should_exit = True
        await serving

    async def _reasons_not_ready(self, parts: Sequence[Part]) -> Sequence[str]:
        reasons = []
        if not await self.database.is_reachable():
            reasons.append("database: does not answer")
        if Part.WORKER in parts:
            stalled = self.worker.progress.stalled()
            if stalled is not None:
                reasons.append(f"worker: {stalled}")
        return reasons

    def _words_were_committed(self) -> None:
        """Wake the relay at once, in this process or in the one that leads."""
        if self.relay.leads:
            self.relay.wake()
        else:
            self.announcer.announce()


class _Server(uvicorn.Server):
    """Signals are the service's own affair."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _collect_garbage_seldom() -> None:
    """A batch makes tens of thousands of short-lived objects without cycles: to search them costs and finds nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _stopped_by_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    return stop
