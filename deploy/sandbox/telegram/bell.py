"""Waiting for the next change of the sandbox."""

import asyncio


class Bell:
    """Wakes those who wait for the next change."""

    def __init__(self) -> None:
        self.closed = False
        self._next = asyncio.Event()

    def next(self) -> asyncio.Event:
        """Set at the next change from now on."""
        return self._next

    def ring(self) -> None:
        rung, self._next = self._next, asyncio.Event()
        rung.set()

    def close(self) -> None:
        """Nobody shall wait any longer: the sandbox stops."""
        self.closed = True
        self.ring()
