"""Waiting for a child process to be ready."""

import time
from collections.abc import Callable
from pathlib import Path


def wait_until(is_so: Callable[[], bool], timeout_s: float, *, every_s: float = 0.05) -> None:
    """Return as soon as `is_so()`; TimeoutError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(every_s)


def log_tail(path: Path, *, lines: int = 15) -> str:
    """': see PATH' and its last lines, to be appended to an error."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return f"; the end of {path}:\n" + "\n".join(text.splitlines()[-lines:])
