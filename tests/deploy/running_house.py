"""`kopilka run` as somebody at a terminal runs it, in a folder and on ports of its own."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from deploy.local.ports import free_port
from deploy.settings import ROOT, SERVICES

READY_S = 240.0


class House:
    """The same folder and ports for every `start()`. What is said without a terminal is kept in `said`."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self.ports = {name: free_port() for name in ("kafka", "postgres", "chat", *SERVICES)}
        settings = {f"KOPILKA_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KOPILKA_")}
        cache = {name: value for name, value in os.environ.items() if name == "KOPILKA_CACHE"}
        self.environ = inherited | cache | settings | {"KOPILKA_HOME": str(home), "KOPILKA_LANG": "en"} | environ
        self.said: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    @property
    def process(self) -> "subprocess.Popen[str]":
        assert self._process is not None
        return self._process

    def start(self, *options: str) -> None:
        self.said.clear()
        self._lines = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy", "run", *options],
            cwd=ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, args=(self._process, self._lines), daemon=True).start()

    def wait_for(self, words: str, *, timeout_s: float = READY_S) -> None:
        """Until it says a line with these words; fails with all that it said when it does not."""
        if any(words in line for line in self.said):
            return
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            assert line is not None, f"never said {words!r}, but:\n" + "\n".join(self.said)
            self.said.append(line)
            if words in line:
                return

    def wait_until_ready(self) -> None:
        self.wait_for("Ctrl-C stops everything")

    def kopilka(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Another of the operator's commands."""
        return subprocess.run(
            [sys.executable, "-m", "deploy", *words],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def get(self, service: str, path: str) -> Any:
        return httpx.get(f"http://127.0.0.1:{self.ports[service]}{path}", timeout=20).raise_for_status().json()

    def family(self) -> list[psutil.Process]:
        """The supervisor and everything that it started."""
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def program(self, words: str) -> psutil.Process:
        (found,) = [p for p in self.family() if words in " ".join(p.cmdline())]
        return found

    def ctrl_c(self) -> float:
        """What a terminal sends; gives how long it took to end, s."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return time.monotonic() - began

    def end(self) -> None:
        """Whatever state it is in."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None

    def _listen(self, process: "subprocess.Popen[str]", lines: "queue.SimpleQueue[str | None]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                lines.put(line.rstrip("\n"))
        lines.put(None)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run."""
    return [each for each in processes if _runs(each)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has ended since it was asked for
        return False


def wait_until(is_so: Callable[[], object], *, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
