"""A program of the house as a child process: its log, its restarts, its end."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local import leash
from deploy.settings import ROOT

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
SETTLED_AFTER_S = 60.0
"""One that ran for so long starts its next pause anew from the shortest."""
LOG_LIMIT_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True)
class Program:
    """What to run: `python -m` and these words, with these settings over the environment."""

    name: str
    words: Sequence[str]
    environ: Mapping[str, str]


class Child:
    """Keeps one program running until `stop()`. It ends when this process ends, however this process ends.

    `died` is told of each death, and in how many seconds the next life begins.
    """

    def __init__(
        self, program: Program, python: str, logs: Path, *, died: "Callable[[Child, float], None]" = lambda *_: None
    ) -> None:
        self.program = program
        self._died = died
        self.log_path = logs / f"{program.name}.log"
        self.deaths = 0
        self.last_exit: int | None = None
        self.starts_again_at: float | None = None
        self._command = [python, "-m", *program.words]
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int | None:
        """Of the running process; None between two lives."""
        return self._process.pid if self.running and self._process is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def keep_running(self) -> None:
        """Start it, and start it again after each death, ever more patiently. Returns after `stop()`."""
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            self.last_exit = await self.run_once()
            if self._stopping.is_set():
                return
            self.deaths += 1
            pause_s = FIRST_PAUSE_S if time.monotonic() - began > SETTLED_AFTER_S else pause_s
            self.starts_again_at = time.monotonic() + pause_s
            self._died(self, pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            self.starts_again_at = None
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def run_once(self) -> int:
        """Run it to its end and give its exit code."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                cwd=ROOT,
                env=os.environ | self.program.environ,
                start_new_session=True,
            )
        leash.hold(self._process.pid)
        code = await self._process.wait()
        leash.release(self._process.pid)
        return code

    async def stop(self, *, within_s: float) -> None:
        """SIGTERM, and SIGKILL to its whole group after `within_s`."""
        self._stopping.set()
        if not self.running or self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), within_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        leash.release(self._process.pid)

    def end_of_log(self, lines: int = 8) -> str:
        """Its last words, for somebody who wants to know why it died."""
        try:
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def keep_log_small(path: Path, *, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Copy a log that has grown aside and empty it. Its writer appends, and so goes on at its new end."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > limit_bytes:
            aside = path.with_name(path.name + ".1")
            aside.write_bytes(path.read_bytes())
            os.truncate(path, 0)
