"""Named places where a fault test kills the process, to see that nothing is lost or done twice."""

import os
import signal

from chassis.settings import settings

_passages: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Die here by SIGKILL when `KOPILKA_FAILPOINT` is `name` (first passage) or `name:N` (N-th)."""
    armed = settings().failpoint
    if armed is None:
        return
    armed_name, _, nth = armed.partition(":")
    if armed_name != name:
        return
    _passages[name] = _passages.get(name, 0) + 1
    if _passages[name] >= int(nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
