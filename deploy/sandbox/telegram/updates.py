"""The updates that wait for the bot: https://core.telegram.org/bots/api#getting-updates."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from deploy.sandbox.telegram.people import Json

KEPT_S: Final = 24 * 60 * 60
"""Telegram keeps an update for a day."""
LEFT_OUT: Final = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
"""Kinds that a bot gets only if it names them."""


class Updates:
    """A queue that is emptied by confirming, never by reading."""

    def __init__(self, on_change: Callable[[Json], None]) -> None:
        self.on_change = on_change
        self.allowed: list[str] = []
        # Telegram starts anywhere; the clock keeps the ids of a sandbox that was wiped from coming back.
        self.next_id = int(time.time())
        self._waiting: deque[Json] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, kind: str, content: Json) -> None:
        """An update for the bot, unless it does not want this kind."""
        wanted = kind in self.allowed if self.allowed else kind not in LEFT_OUT
        if not wanted:
            return
        waiting = {"queued_at": int(time.time()), "update": {"update_id": self.next_id, kind: content}}
        self.next_id += 1
        self._waiting.append(waiting)
        self.on_change({"kind": "update", **waiting})

    def pending(self, limit: int) -> list[Json]:
        """The oldest ones that are not confirmed."""
        while self._waiting and self._waiting[0]["queued_at"] < time.time() - KEPT_S:
            self._waiting.popleft()
        return [each["update"] for each in itertools.islice(self._waiting, limit)]

    def confirm(self, offset: int) -> None:
        """Forget those below `offset`; a negative one leaves so many at the end."""
        if offset < 0:
            offset = self._waiting[max(offset, -len(self))]["update"]["update_id"] if self._waiting else 0
        if self._forget_below(offset):
            self.on_change({"kind": "confirmed", "below": offset})

    def drop_all(self) -> None:
        """Forget all that wait."""
        self.confirm(self.next_id)

    def allow(self, kinds: Sequence[str]) -> None:
        """Which kinds are made from now on; none named: all but those that Telegram leaves out by itself."""
        if self.allowed != list(kinds):
            self.allowed = list(kinds)
            self.on_change({"kind": "allowed", "updates": self.allowed})

    def facts(self) -> Iterator[Json]:
        """The queue as facts for `restore`."""
        yield {"kind": "allowed", "updates": self.allowed}
        yield {"kind": "confirmed", "below": self.next_id - len(self)}
        for waiting in self._waiting:
            yield {"kind": "update", **waiting}

    def restore(self, fact: Json) -> None:
        """Take one fact of an earlier life."""
        match fact["kind"]:
            case "allowed":
                self.allowed = fact["updates"]
            case "confirmed":
                self._forget_below(fact["below"])
                self.next_id = max(self.next_id, fact["below"])
            case "update":
                self._waiting.append({"queued_at": fact["queued_at"], "update": fact["update"]})
                self.next_id = max(self.next_id, fact["update"]["update_id"] + 1)

    def _forget_below(self, offset: int) -> bool:
        before = len(self)
        while self._waiting and self._waiting[0]["update"]["update_id"] < offset:
            self._waiting.popleft()
        return len(self) != before
