"""Waiting for a child process to be ready, and what to tell when it does not become so."""

import time
from collections.abc import Callable
from pathlib import Path

from deploy.trouble import Trouble
from deploy.words import _

DISK_IS_FULL = ("No space left on device", "Disk quota exceeded")


def wait_until(is_so: Callable[[], bool], timeout_s: float, *, every_s: float = 0.05) -> None:
    """Return as soon as `is_so()`; TimeoutError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(every_s)


def did_not_answer(name: str, timeout_s: float, log: Path) -> Trouble:
    """A server that runs and is not ready in time."""
    return Trouble(
        _("{name} did not answer within {seconds:g} s; the end of {log}:").format(name=name, seconds=timeout_s, log=log)
        + "\n"
        + _end_of(log)
    )


def ended_while_starting(name: str, log: Path) -> Trouble:
    """A server that gave up; a full disk is told as such."""
    end = _end_of(log)
    if any(sign in end for sign in DISK_IS_FULL):
        return disk_is_full(log.parent)
    return Trouble(_("{name} ended while starting; the end of {log}:").format(name=name, log=log) + "\n" + end)


def could_not_make_data(name: str, folder: Path, said: str) -> Trouble:
    """A server's data could not be made; `said` is what its own program told."""
    if any(sign in said for sign in DISK_IS_FULL):
        return disk_is_full(folder)
    reason = said.strip()[-1000:]
    return Trouble(
        _("{name} could not make its data in {folder}: {reason}").format(name=name, folder=folder, reason=reason)
    )


def disk_is_full(folder: Path | str) -> Trouble:
    """The mend is the same everywhere."""
    return Trouble(
        _("the disk of {folder} is full; make room, or choose a folder on another disk with KOPILKA_HOME").format(
            folder=folder
        )
    )


def _end_of(log: Path, *, lines: int = 15) -> str:
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
