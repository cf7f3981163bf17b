"""The embedded Kafka and PostgreSQL of one house: started together, kept running, stopped together."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy.local.kafka import EmbeddedKafka
from deploy.local.postgres import EmbeddedPostgres
from deploy.settings import RunSettings
from deploy.trouble import Trouble

LOOK_EVERY_S = 0.5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


@dataclass
class Server:
    """One of them. `died` is told of each death; `note` is why it does not start, `starting` whether it is about to."""

    name: str
    server: EmbeddedKafka | EmbeddedPostgres
    stop: Callable[[], None]
    died: Callable[[str], None]
    deaths: int = 0
    note: str = ""
    starting: bool = False

    async def start(self) -> None:
        """Raises Trouble."""
        self.starting = True
        try:
            await asyncio.to_thread(self.server.start)
            self.note = ""
        finally:
            self.starting = False

    async def keep_running(self) -> None:
        """For ever: start it again after each death, ever more patiently."""
        pause_s = FIRST_PAUSE_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self.server.running:
                pause_s = FIRST_PAUSE_S
                continue
            self.deaths += 1
            self.died(self.name)
            try:
                await self.start()
            except Trouble as trouble:
                self.note = str(trouble).splitlines()[0]
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


class Servers:
    """Those of the two that do not come from outside."""

    def __init__(self, settings: RunSettings, *, stop_within_s: float, died: Callable[[str], None]) -> None:
        self.all: list[Server] = []
        self._starts: list[asyncio.Task[None]] = []
        self._stop_within_s = stop_within_s
        if settings.kafka is None:
            kafka = EmbeddedKafka(settings.home / "kafka", settings.kafka_port)
            self.all.append(Server("kafka", kafka, lambda: kafka.stop(timeout_s=stop_within_s), died))
        if settings.database is None:
            postgres = EmbeddedPostgres(settings.home / "postgres", settings.postgres_port)
            self.all.append(Server("postgres", postgres, lambda: postgres.stop(timeout_s=stop_within_s), died))

    async def start(self, name: str) -> None:
        """Start the one of that name, if it is not from outside. Raises Trouble."""
        for server in self.all:
            if server.name == name:
                start = asyncio.create_task(server.start())
                self._starts.append(start)
                await start

    async def stop(self) -> None:
        """Also of one that is only just starting."""
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in self.all))
        for start in self._starts:
            with contextlib.suppress(Trouble, asyncio.CancelledError):
                await start
        # A start that was under way may have begun its process after the stop.
        await asyncio.gather(*(asyncio.to_thread(server.server.kill) for server in self.all if server.server.running))


def seconds_until(moment: float) -> int:
    """Whole seconds from now to a moment of time.monotonic()."""
    return max(0, round(moment - time.monotonic()))
