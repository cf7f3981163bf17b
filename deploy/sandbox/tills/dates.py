"""Which date each receipt gets. The data set is of 2017; what the tills say is of now, and of the weeks before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from deploy.sandbox.tills.baskets import FIRST_DAY
from deploy.sandbox.tills.happenings import Happening, Place
from deploy.sandbox.tills.journal import Journal

REAL_TIME: Final = 1.0
LIVE: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Pace:
    """`per_s` receipts a second, whose dates go `speed` times as fast as the clock until they are those of the clock.

    At real time what lies before the beginning of the run is history instead: `history_per_s`, and dated as in the
    data set's calendar, moved.
    """

    per_s: float = 5
    speed: float = REAL_TIME
    history_per_s: float = 300

    def is_history(self, place: Place, journal: Journal) -> bool:
        """Whether this is dated before the run began."""
        return self.speed == REAL_TIME and place.year == 0 and _moved(place, journal) < journal.began_at

    def dates(self, batch: Sequence[Happening], journal: Journal, now: datetime) -> list[datetime]:
        """The dates of what is published next; never in the future, and never before those that were published."""
        if self.is_history(batch[0].place, journal):
            return [_moved(happening.place, journal) for happening in batch]
        step = timedelta(seconds=self.speed / self.per_s)
        dates = []
        last = journal.last_date
        for _ in batch:
            last = max(last, now if self.speed == REAL_TIME else min(now, last + step))
            dates.append(last.replace(microsecond=last.microsecond // 1000 * 1000))
        return dates


def is_live(journal: Journal, now: datetime) -> bool:
    """Whether what is published is about of now."""
    return now - journal.last_date < LIVE


def _moved(place: Place, journal: Journal) -> datetime:
    return journal.starts_on + (place.at - FIRST_DAY)
