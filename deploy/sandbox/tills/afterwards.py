"""What becomes of a purchase afterwards: goods come back, in part or whole, or the receipt is annulled at once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from deploy.sandbox.tills.baskets import Basket, Line

WHOLE: Final = 0.3
TWICE: Final = 0.2
"""Of the returns, those of everything, and those in two goes."""
SOONEST: Final = timedelta(hours=1)
LATEST: Final = timedelta(days=14)
"""Everything that becomes of a purchase becomes of it within this time."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of all purchases, how many are returned (in part or whole) and how many cancelled; 0 to 1."""

    returned: float = 0.03
    cancelled: float = 0.005


@dataclass(frozen=True, slots=True)
class LineBack:
    """What comes back of a line."""

    line_no: int
    quantity: Decimal
    total_minor: int


@dataclass(frozen=True, slots=True)
class Afterwards:
    """A return of those lines, or the cancellation of the purchase where there are none."""

    at: datetime
    lines: tuple[LineBack, ...] = ()


def afterwards(basket: Basket, chance: Random, shares: Shares) -> list[Afterwards]:
    """Decided by `chance` alone, in the order of time."""
    drawn = chance.random()
    if drawn < shares.cancelled:
        return [Afterwards(basket.at + timedelta(seconds=chance.randint(30, 600)))]
    if drawn >= shares.cancelled + shares.returned:
        return []
    goods = [line for line in basket.lines if not line.is_fuel]
    if not goods:
        return []
    if chance.random() < WHOLE:
        return [Afterwards(_later(basket.at, chance), tuple(_back(line, 0, int(line.quantity)) for line in goods))]
    return _partly(basket.at, goods, chance)


def _partly(at: datetime, goods: list[Line], chance: Random) -> list[Afterwards]:
    """A few of the lines, whole or some pieces of them, in one go or in two."""
    came_back: dict[int, int] = {}
    gone: list[Afterwards] = []
    for _ in range(2 if chance.random() < TWICE else 1):
        left = [line for line in goods if came_back.get(line.line_no, 0) < int(line.quantity)]
        if not left:
            break
        lines = []
        for line in sorted(chance.sample(left, chance.randint(1, min(3, len(left)))), key=lambda line: line.line_no):
            before = came_back.get(line.line_no, 0)
            pieces = chance.randint(1, int(line.quantity) - before)
            came_back[line.line_no] = before + pieces
            lines.append(_back(line, before, pieces))
        at = _later(at, chance, within=LATEST / 2)
        gone.append(Afterwards(at, tuple(lines)))
    return gone


def _later(at: datetime, chance: Random, *, within: timedelta = LATEST) -> datetime:
    return at + SOONEST + timedelta(seconds=chance.randrange(int((within - SOONEST).total_seconds())))


def _back(line: Line, before: int, pieces: int) -> LineBack:
    """`pieces` more of the line come back after `before` of them: the money of all parts adds up to the line's."""
    of_line = int(line.quantity)
    money = line.total_minor * (before + pieces) // of_line - line.total_minor * before // of_line
    return LineBack(line.line_no, Decimal(pieces), money)
