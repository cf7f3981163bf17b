"""Everything that happens at the tills in a year, in one order that is always the same."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

from deploy.sandbox.tills.afterwards import LATEST, Afterwards, Shares, afterwards
from deploy.sandbox.tills.baskets import FIRST_DAY, Basket, baskets


class Place(NamedTuple):
    """Where in that order: the year (0 is the first), the moment in the data set's calendar, the basket, the step.

    Step 0 of a basket is its purchase; then come its returns or its cancellation.
    """

    year: int
    at: datetime
    basket_id: int
    step: int


@dataclass(frozen=True, slots=True)
class Happening:
    """The purchase of a basket, or what became of it afterwards."""

    place: Place
    basket: Basket
    afterwards: Afterwards | None = None


BEGINNING = Place(0, FIRST_DAY, 0, -1)


def happenings(
    seed: int, shares: Shares, *, after: Place = BEGINNING, folder: Path | None = None
) -> Iterator[Happening]:
    """What happens after that place, for ever: when the year is over, it begins anew."""
    while True:
        yield from _of_a_year(seed, shares, after, folder)
        after = Place(after.year + 1, FIRST_DAY, 0, -1)


def _of_a_year(seed: int, shares: Shares, after: Place, folder: Path | None) -> Iterator[Happening]:
    """What was bought not long before `after` is looked at again, for some of it may come back later."""
    awaited: list[tuple[Place, Happening]] = []
    for basket in baskets(since=max(FIRST_DAY, after.at - LATEST), folder=folder):
        bought = Happening(Place(after.year, basket.at, basket.basket_id, 0), basket)
        while awaited and awaited[0][0] < bought.place:
            place, happening = heapq.heappop(awaited)
            if place > after:
                yield happening
        if bought.place > after:
            yield bought
        chance = Random(f"{seed} {after.year} {basket.basket_id}")  # noqa: S311
        for step, later in enumerate(afterwards(basket, chance, shares), start=1):
            place = Place(after.year, later.at, basket.basket_id, step)
            heapq.heappush(awaited, (place, Happening(place, basket, later)))
    while awaited:
        place, happening = heapq.heappop(awaited)
        if place > after:
            yield happening
