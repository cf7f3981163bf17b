"""`kopilka run`: everything on one machine, started in order, kept running, stopped with no process left behind."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from chassis.provisioning import provision
from contracts.topics import TOPICS
from deploy import home
from deploy.children import Child, Program
from deploy.display import Display
from deploy.local.ports import require_free
from deploy.local.psql import ensure_database
from deploy.parts import CHAT, TILLS, migration_program, sandbox_programs, service_programs
from deploy.servers import Server, Servers, seconds_until
from deploy.settings import SERVICES, RunSettings
from deploy.status import PartStatus, State, Status, Watch
from deploy.trouble import Trouble
from deploy.words import _

# Together with all that goes with it less than ten seconds, on a busy machine too. Who does not end in time is
# killed, which all of them withstand.
WATCH_STOP_S = 0.5
CHILDREN_STOP_S = 3.5
SERVERS_STOP_S = 2.5
LOOK_EVERY_S = 1.0
LOGS_EVERY_S = 60.0
TILLS_SILENT_S = 10.0
ONE_PRESS_S = 0.5
"""A signal so soon after the first is the same one, sent to the process and to its group."""


class Supervisor:
    """`run()` returns after SIGINT, SIGTERM or SIGHUP, when everything has ended; a second signal ends it at once."""

    def __init__(
        self,
        settings: RunSettings,
        display: Display,
        *,
        fresh: bool = False,
        sandbox: bool = True,
        rate: float = 5,
        speed: float = 1,
    ) -> None:
        if fresh and (settings.kafka or settings.database):
            raise Trouble(
                _(
                    "a fresh start wipes only the embedded servers: unset KOPILKA_KAFKA and KOPILKA_DATABASE, "
                    "or drop the topics and databases there yourself"
                )
            )
        self._settings = settings
        self._display = display
        self._fresh = fresh
        self._servers = Servers(settings, stop_within_s=SERVERS_STOP_S, died=self._server_died)
        self._migration = self._children([migration_program(settings)])[0]
        self._services = self._children(service_programs(settings, sandbox=sandbox))
        self._sandbox = self._children(sandbox_programs(settings, rate=rate, speed=speed) if sandbox else [])
        self._stop = asyncio.Event()
        self._stopped_at = 0.0

    async def run(self) -> None:
        """Raises Trouble when something does not come up."""
        settings = self._settings
        with home.occupied(settings.home):
            self._take_signals()
            if self._fresh:
                home.wipe(settings.home)
            home.require_room(settings.home)
            self._require_ports()
            try:
                await self._unless_stopped(self._bring_up())
                await self._unless_stopped(self._keep_up())
            finally:
                await self._bring_down()

    def _children(self, programs: list[Program]) -> list[Child]:
        logs = self._settings.home / "logs"
        return [Child(program, sys.executable, logs, died=self._child_died) for program in programs]

    def _child_died(self, child: Child, pause_s: float) -> None:
        told = _("{name} ended with code {code}, starts again in {seconds:g} s; see {log}")
        said = told.format(name=child.name, code=child.last_exit, seconds=pause_s, log=child.log_path)
        self._display.say(said)

    def _server_died(self, name: str) -> None:
        self._display.say(_("{name} ended by itself; starting it again").format(name=name))

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(each, self._signalled)

    def _signalled(self) -> None:
        if self._stop.is_set():
            if time.monotonic() - self._stopped_at > ONE_PRESS_S:
                os._exit(130)  # the leash ends every process that is left
            return
        self._stop.set()
        self._stopped_at = time.monotonic()
        self._display.rest()
        self._display.say(_("Stopping; Ctrl-C once more stops at once"))

    def _require_ports(self) -> None:
        """Every port at the very beginning, so that a taken one is told before anything runs."""
        settings = self._settings
        embedded = {server.name for server in self._servers.all}
        wanted = [(name, f"{name}_port") for name in sorted(embedded)]
        wanted += [(service, f"{service}_port") for service in SERVICES]
        wanted += [("chat", "chat_port") for child in self._sandbox if child.name == CHAT]
        for name, setting in wanted:
            require_free(getattr(settings, setting), name, f"KOPILKA_{setting.upper()}")

    async def _unless_stopped(self, work: Awaitable[None]) -> None:
        """The work, cut short by a signal."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working}, timeout=WATCH_STOP_S)
            return
        await working

    async def _bring_up(self) -> None:
        """The bus and the databases side by side."""
        self._display.say(_("Starting; the first time takes longer"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._provide_topics())
            tasks.create_task(self._provide_databases())

    async def _provide_topics(self) -> None:
        await self._servers.start("kafka")
        settings = self._settings.of_services
        try:
            await provision(settings.kafka, TOPICS.values(), replication=settings.topic_replication)
        except Exception as error:  # the client library's own errors are the chassis' affair
            raise Trouble(
                _("Kafka at {address}: {reason}; start it, or unset KOPILKA_KAFKA to have one started here").format(
                    address=settings.kafka, reason=str(error) or type(error).__name__
                )
            ) from error

    async def _provide_databases(self) -> None:
        await self._servers.start("postgres")
        for service in SERVICES:
            name = f"{self._settings.database_prefix}{service}"
            await asyncio.to_thread(ensure_database, self._settings.dsn, name)
        migration = self._migration
        if await migration.run_once() != 0:
            failed = _("{name} failed; the end of {log}:").format(name=migration.name, log=migration.log_path)
            raise Trouble(f"{failed}\n{migration.end_of_log()}")

    async def _keep_up(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for server in self._servers.all:
                tasks.create_task(server.keep_running())
            for child in (*self._services, *self._sandbox):
                tasks.create_task(child.keep_running())
            tasks.create_task(self._watch())
            tasks.create_task(self._trim_logs())

    async def _watch(self) -> None:
        async with Watch(self._settings) as watch:
            while True:
                self._display.show(await self._look(watch))
                await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, watch: Watch) -> Status:
        """What is seen from outside, and what only the parent of the processes knows."""
        status = await watch.look()
        chat_answers = await watch.answers(self._settings.url("chat"))
        children = {child.name: child for child in (*self._services, *self._sandbox)}
        parts = {part.name: part for part in status.parts}
        for name in children:
            if name == CHAT:
                state = State.READY if chat_answers else State.DOWN
                parts[name] = PartStatus(name, state, self._settings.url("chat"))
            elif name == TILLS:
                parts[name] = tills_status(self._settings.home)
        for server in self._servers.all:
            parts[server.name] = _with_server(parts[server.name], server)
        return replace(status, parts=[_with_life(part, children.get(name)) for name, part in parts.items()])

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(LOGS_EVERY_S)
            await asyncio.to_thread(home.keep_logs_small, self._settings.home)

    async def _bring_down(self) -> None:
        children = (*self._sandbox, *self._services, self._migration)
        await asyncio.gather(*(child.stop(within_s=CHILDREN_STOP_S) for child in children))
        await self._servers.stop()
        if self._stop.is_set():
            self._display.say(_("Stopped. The data stays in {folder}").format(folder=self._settings.home))


def tills_status(folder: Path) -> PartStatus:
    """As the tills themselves tell it in a small file, anew every second."""
    try:
        told = json.loads((folder / "sandbox" / "tills.status.json").read_text(encoding="utf-8"))
        age_s = (datetime.now(UTC) - datetime.fromisoformat(told["at"])).total_seconds()
        problem, history, date = told["trouble"], told["history"], str(told["date"])[:10]
    except (OSError, ValueError, KeyError):
        return PartStatus(TILLS, State.DOWN)
    if age_s > TILLS_SILENT_S:
        return PartStatus(TILLS, State.DOWN)
    if problem is None and history:
        problem = _("publishing what lies before the first run; receipts of {date}").format(date=date)
    return PartStatus(TILLS, State.READY, note=problem or "")


def _with_life(part: PartStatus, child: Child | None) -> PartStatus:
    if child is None:
        return part
    if child.starts_again_at is not None:
        note = _("ended with code {code}, starts again in {seconds} s; see {log}").format(
            code=child.last_exit, seconds=seconds_until(child.starts_again_at), log=child.log_path
        )
        return replace(part, state=State.RESTARTING, note=note)
    if part.state is State.DOWN:
        return replace(part, state=State.STARTING)
    return part


def _with_server(part: PartStatus, server: Server) -> PartStatus:
    if server.starting or not server.server.running:
        return replace(part, state=State.RESTARTING, note=server.note)
    return replace(part, state=State.STARTING) if part.state is State.DOWN else part
