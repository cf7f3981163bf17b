"""Children that die with their parent, even when the parent gets SIGKILL.

The parent holds one end of a pipe; a small watcher process holds the other. When the parent is gone the pipe
closes, and the watcher ends every process it was told of. Unlike prctl(PR_SET_PDEATHSIG) this works on macOS,
survives a child's change of user, and does not fire when the *thread* that started the child ends.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil

GRACE_S = 5.0
"""How long an orphan may take to end by its own signal before it gets SIGKILL."""


class _Leash:
    """This process' end of the pipe. A fork has a leash of its own, for its children are its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watcher: subprocess.Popen[bytes] | None = None
        self._owner_pid = 0

    def tell(self, line: str) -> None:
        """Return when the watcher has understood."""
        with self._lock:
            watcher = self._running_watcher()
            assert watcher.stdin is not None
            assert watcher.stdout is not None
            watcher.stdin.write(line.encode())
            watcher.stdin.flush()
            watcher.stdout.readline()

    def _running_watcher(self) -> "subprocess.Popen[bytes]":
        if self._watcher is None or self._owner_pid != os.getpid() or self._watcher.poll() is not None:
            self._watcher = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
            self._owner_pid = os.getpid()
            atexit.register(_let_go, self._watcher)
        return self._watcher


_leash = _Leash()


def hold(pid: int, *, ending: signal.Signals = signal.SIGTERM) -> None:
    """On return, process `pid` (and its group, if it leads one) cannot outlive this process.

    `ending` is how an orphan is asked to go.
    """
    _leash.tell(f"+{pid} {int(ending)}\n")


def release(pid: int) -> None:
    """Process `pid` has ended or may live on."""
    _leash.tell(f"-{pid}\n")


def _let_go(watcher: "subprocess.Popen[bytes]") -> None:
    assert watcher.stdin is not None
    assert watcher.stdout is not None
    with contextlib.suppress(OSError):
        watcher.stdin.close()
    watcher.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        watcher.wait(GRACE_S + 2)


def _watch() -> None:
    held: dict[int, tuple[psutil.Process, signal.Signals]] = {}
    for line in sys.stdin:
        pid, *ending = (int(word) for word in line[1:].split())
        if line.startswith("-"):
            held.pop(pid, None)
        else:
            # psutil.Process remembers the start time: a reused pid is never signalled.
            with contextlib.suppress(psutil.NoSuchProcess):
                held[pid] = (psutil.Process(pid), signal.Signals(ending[0]))
        print(flush=True)
    for process, ending_signal in held.values():
        _signal(process, ending_signal)
    _, alive = psutil.wait_procs([process for process, _ in held.values()], timeout=GRACE_S)
    for process in alive:
        _signal(process, signal.SIGKILL)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error, OSError):
        if not process.is_running():
            return
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


if __name__ == "__main__":
    for unwanted in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unwanted, signal.SIG_IGN)
    _watch()
