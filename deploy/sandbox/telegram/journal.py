"""The sandbox's memory: an append-only file of facts, one JSON object a line, so that a restart keeps the chats."""

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import orjson

from deploy.sandbox.telegram.people import Json
from deploy.sandbox.telegram.words import _
from deploy.trouble import Trouble

REWRITTEN_AFTER_BYTES: Final = 64 * 1024 * 1024


class Journal:
    """Opened by one process at a time. Raises `Trouble` where another sandbox has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = path.with_suffix(".lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise Trouble(
                _("another sandbox uses {file}; stop that one, or choose another folder with KOPILKA_HOME").format(
                    file=path
                )
            ) from None
        self._file: IO[bytes] = path.open("ab")
        self._grown_bytes = 0

    def facts(self) -> Iterator[Json]:
        """What was written before. A last line that a power cut tore is left out."""
        with self.path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    yield orjson.loads(line)

    def write(self, fact: Json) -> None:
        """Handed to the operating system at once: a kill of the sandbox loses nothing."""
        self._grown_bytes += self._file.write(orjson.dumps(fact) + b"\n")
        self._file.flush()

    @property
    def is_long(self) -> bool:
        """Whether it is time to `rewrite`."""
        return self._grown_bytes > REWRITTEN_AFTER_BYTES

    def rewrite(self, facts: Iterator[Json]) -> None:
        """Replace the file by fewer facts that say the same; a crash on the way leaves the old one."""
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as out:
            out.writelines(orjson.dumps(fact) + b"\n" for fact in facts)
        fresh.replace(self.path)
        self._file.close()
        self._file = self.path.open("ab")
        self._grown_bytes = 0

    def close(self) -> None:
        self._file.close()
        self._lock.close()
