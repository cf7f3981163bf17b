"""The folder of one running house (KOPILKA_HOME): who works in it, what is ours in it, whether there is room."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.children import keep_log_small
from deploy.trouble import Trouble
from deploy.words import _

NEEDED_BYTES = 1_000_000_000
OWN_FOLDERS = ("kafka", "postgres", "logs", "sandbox")


@contextmanager
def occupied(home: Path) -> Iterator[None]:
    """Ours alone until the end of the block. Raises Trouble when another `kopilka run` works in it."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / ".lock").open("a+")
    except OSError as error:
        raise Trouble(
            _("cannot write to {folder} ({reason}); make it yours, or choose another with KOPILKA_HOME").format(
                folder=home, reason=error.strerror
            )
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Trouble(
                _(
                    "Kopilka runs already in {folder} (pid {pid}); stop that one, "
                    "or choose another folder and other ports (KOPILKA_HOME, KOPILKA_…_PORT)"
                ).format(folder=home, pid=lock.read().strip() or "?")
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def wipe(home: Path) -> None:
    """Forget everything that ran here. Only folders that Kopilka itself makes are removed."""
    for name in OWN_FOLDERS:
        if (home / name).exists():
            shutil.rmtree(home / name)


def require_room(home: Path) -> None:
    """Raise Trouble when the disk is too full to begin."""
    free = shutil.disk_usage(home).free
    if free < NEEDED_BYTES:
        raise Trouble(
            _(
                "the disk of {folder} has only {free} MB free, {needed} MB are needed; "
                "make room, or choose a folder on another disk with KOPILKA_HOME"
            ).format(folder=home, free=free // 1_000_000, needed=NEEDED_BYTES // 1_000_000)
        )


def keep_logs_small(home: Path) -> None:
    for log in (*home.glob("logs/*.log"), home / "kafka/kafka.log", home / "postgres/postgres.log"):
        keep_log_small(log)
