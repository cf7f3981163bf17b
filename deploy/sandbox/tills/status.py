"""How the tills are doing: a line now and then for eyes, a small file for the table of `kopilka run`."""

import json
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deploy.sandbox.tills.words import _

FILE: Final = "tills.status.json"
RATE_OVER_S: Final = 10.0


@dataclass
class Status:
    """Counts of this process; `published` of the whole run. A problem is shown until it is `RATE_OVER_S` old."""

    published: int = 0
    registered: int = 0
    in_telegram: int = 0
    waiting: int = 0
    """Households that wait to be registered."""
    history: bool = False
    date: datetime | None = None
    """The date of the newest receipt."""
    problems: int = 0
    last_problem: str | None = None
    _problem_at: float = 0.0
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def say(self, count: int, date: datetime, *, history: bool) -> None:
        """So many records were published, the newest of that date."""
        self.published += count
        self.date = date
        self.history = history
        self._recent.append((time.monotonic(), count))

    def problem(self, what: str) -> None:
        """Something went wrong; without personal data."""
        self.problems += 1
        self.last_problem = what
        self._problem_at = time.monotonic()

    @property
    def per_s(self) -> float:
        """Records published a second over the last seconds."""
        now = time.monotonic()
        while self._recent and self._recent[0][0] < now - RATE_OVER_S:
            self._recent.popleft()
        if len(self._recent) < 2:
            return 0.0
        first_at, first = self._recent[0]
        return (sum(count for at, count in self._recent) - first) / max(now - first_at, 1e-6)

    @property
    def trouble(self) -> str | None:
        """The last problem, while it is fresh."""
        fresh = time.monotonic() - self._problem_at < RATE_OVER_S
        return self.last_problem if fresh else None

    def line(self) -> str:
        """One line for eyes."""
        line = _(
            "{published} published ({per_s:.1f}/s, dated {date}), {registered} registered, {waiting} waiting, "
            "{in_telegram} in Telegram, {problems} problems"
        ).format(
            published=self.published,
            per_s=self.per_s,
            date=f"{self.date:%Y-%m-%d %H:%M}" if self.date else "-",
            registered=self.registered,
            waiting=self.waiting,
            in_telegram=self.in_telegram,
            problems=self.problems,
        )
        return f"{line}: {self.trouble}" if self.trouble else line

    def keep(self, folder: Path) -> None:
        """Write the file: one JSON object, replaced as a whole."""
        told = {
            "at": datetime.now(UTC).isoformat(),
            "published": self.published,
            "per_s": round(self.per_s, 1),
            "history": self.history,
            "date": self.date.isoformat() if self.date else None,
            "registered": self.registered,
            "waiting": self.waiting,
            "in_telegram": self.in_telegram,
            "problems": self.problems,
            "trouble": self.trouble,
        }
        new = folder / f"{FILE}.new"
        new.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        new.replace(folder / FILE)
