"""The RFM rule: scores from 1 to 5, and the segment that recency and frequency name.

`recompute.py` does the same in SQL for all customers at once; a test holds the two together.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from contracts.segmentation import RfmSegment

K = TypeVar("K", bound=Hashable)

SEGMENTS: Mapping[int, tuple[RfmSegment, ...]] = {
    # R: F1, F2, F3, F4, F5
    5: ("new", "potential_loyalist", "potential_loyalist", "champions", "champions"),
    4: ("promising", "potential_loyalist", "potential_loyalist", "loyal", "loyal"),
    3: ("about_to_sleep", "about_to_sleep", "need_attention", "loyal", "loyal"),
    2: ("hibernating", "hibernating", "at_risk", "at_risk", "cant_lose"),
    1: ("hibernating", "hibernating", "at_risk", "at_risk", "cant_lose"),
}


@dataclass(frozen=True)
class Standing:
    """What a customer bought within the window. Who bought nothing has none, and no scores either."""

    last_purchase_at: datetime
    purchases: int
    spent: Mapping[str, int]
    """Paid less what came back, by currency, smallest unit."""


class Scores(NamedTuple):
    """Each from 1 to 5, 5 best."""

    recency: int
    frequency: int
    monetary: int

    @property
    def segment(self) -> RfmSegment:
        return segment(self.recency, self.frequency)


def segment(recency: int, frequency: int) -> RfmSegment:
    """The cell of the 5 × 5 map."""
    return SEGMENTS[recency][frequency - 1]


def quintiles(values: Mapping[K, Any]) -> dict[K, int]:
    """1 + 5 × the share of the others who have a smaller value, rounded down.

    Equal values have equally many smaller ones below them, and so equal scores. Five equal groups of different
    values score 1, 2, 3, 4, 5; where all are equal (or there is one alone) all score 1; a crowd that shares the
    smallest value scores 1 however large it is.
    """
    ascending = sorted(values.values())
    return {key: 1 + 5 * bisect_left(ascending, value) // len(ascending) for key, value in values.items()}


def score(standings: Mapping[K, Standing], now: datetime) -> dict[K, Scores]:
    """The scores of everybody who bought within the window.

    Recency is the quintile of the time since the last purchase, turned round. Money is compared among those who
    paid in the same currency; who paid in several has the best score of them.
    """
    since = quintiles({key: now - standing.last_purchase_at for key, standing in standings.items()})
    purchases = quintiles({key: standing.purchases for key, standing in standings.items()})
    by_currency: dict[str, dict[K, int]] = defaultdict(dict)
    for key, standing in standings.items():
        for currency, total_minor in standing.spent.items():
            by_currency[currency][key] = total_minor
    spent: dict[K, int] = defaultdict(int)
    for totals in by_currency.values():
        for key, quintile in quintiles(totals).items():
            spent[key] = max(spent[key], quintile)
    return {key: Scores(6 - since[key], purchases[key], spent[key]) for key in standings}
