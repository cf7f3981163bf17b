"""Whether a worker moves: healthy means that its committed offset advances while there is lag."""

import time


class Progress:
    """What a worker has got done lately. `stalled` names why it is not healthy, or is None."""

    def __init__(self, stall_timeout_s: float) -> None:
        self.stall_timeout_s = stall_timeout_s
        self._behind_since: float | None = None
        self._halted: str | None = None

    def seen_lag(self, records: int) -> None:
        """So many records wait just now."""
        if records == 0:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = time.monotonic()

    def advanced(self) -> None:
        """An offset was committed."""
        self._behind_since = None

    def halt(self, why: str) -> None:
        """The worker stands still until it is started again."""
        self._halted = why

    def stalled(self) -> str | None:
        """Why the worker does not move, if it should."""
        if self._halted is not None:
            return f"halted: {self._halted}; mend the cause and start the service again"
        if self._behind_since is not None and time.monotonic() - self._behind_since > self.stall_timeout_s:
            return f"stalled: records wait, and no offset was committed for {self.stall_timeout_s:g} s"
        return None
