"""What the person who typed `kopilka run` sees: a live table on a terminal, plain lines now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from deploy.status import State, Status
from deploy.status_table import part_line, summary_line, table

SUMMARY_EVERY_S = 30.0


class Display(Protocol):
    """`say` a step; `show` how everything is, until told to `rest`."""

    def say(self, text: str) -> None: ...
    def show(self, status: Status) -> None: ...
    def rest(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LiveTable:
    """Redrawn in place; what is said scrolls above it."""

    def __init__(self, console: Console, hint: str) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._console = console
        self._hint = hint
        self._rests = False

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def show(self, status: Status) -> None:
        if self._rests:
            return
        if not self._live.is_started:
            self._live.start()
        self._live.update(table(status, hint=self._hint), refresh=True)

    def rest(self) -> None:
        self._rests = True
        self._live.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()


class PlainLines:
    """A line when a part's state changes, a summary every half minute, and the hint when all is ready."""

    def __init__(self, hint: str) -> None:
        self._hint = hint
        self._states: dict[str, State] = {}
        self._was_well = False
        self._summed_up_at = time.monotonic()

    def say(self, text: str) -> None:
        print(text, flush=True)

    def show(self, status: Status) -> None:
        for part in status.parts:
            if self._states.get(part.name) is not part.state:
                self._states[part.name] = part.state
                self.say(part_line(part))
        if status.is_well and not self._was_well:
            self._was_well = True
            self.say(self._hint)
        if time.monotonic() - self._summed_up_at > SUMMARY_EVERY_S:
            self._summed_up_at = time.monotonic()
            self.say(summary_line(status))

    def rest(self) -> None:
        """Nothing is redrawn here."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout.flush()


def display(hint: str) -> Display:
    """The one that fits where the output goes."""
    console = Console()
    return LiveTable(console, hint) if console.is_terminal else PlainLines(hint)
