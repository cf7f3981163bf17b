"""What a purchase earns: decisions that take everything they need and touch nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from services.loyalty.terms import BASIS_POINTS, PointsCurrencyTerms, Rules, Terms


class PricedLine(Protocol):
    """A line of a receipt."""

    @property
    def product_id(self) -> str: ...
    @property
    def category(self) -> str | None: ...
    @property
    def total_minor(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Pricing:
    """What a purchase earns, in all and by line, and by which level; `withheld` says why it earns nothing."""

    points: int
    level: str
    line_points: Sequence[int]
    withheld: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What of an account decides what a purchase earns on it."""

    spent_minor: int = 0
    """What had been spent before this purchase."""
    bonus_coefficient: int = BASIS_POINTS
    """The customer's own, in basis points."""
    withheld: str | None = None
    """Why nothing is earned now: the account is frozen, a limit is reached."""


def price_purchase(
    lines: Sequence[PricedLine],
    paid_minor: Sequence[int] | None,
    standing: Standing,
    currency: PointsCurrencyTerms,
    terms: Terms,
) -> Pricing:
    """The base offer: the level's share of what was paid, times the customer's coefficient, rounded as the terms say.

    `paid_minor`: what of each line was paid with points; None: nothing.
    """
    level = terms.level_at(standing.spent_minor)
    if standing.withheld:
        return Pricing(0, level.code, [0] * len(lines), standing.withheld)
    earning = earning_minor(lines, paid_minor, terms)
    share = level.rate_basis_points * standing.bonus_coefficient * currency.unit
    whole = BASIS_POINTS * BASIS_POINTS * currency.worth_minor
    if terms.rounded_per == "line":
        line_points = [divide(each * share, whole, terms.rounding) for each in earning]
        return Pricing(sum(line_points), level.code, line_points)
    points = divide(sum(earning) * share, whole, terms.rounding)
    return Pricing(points, level.code, split(points, earning))


def earning_minor(lines: Sequence[PricedLine], paid_minor: Sequence[int] | None, terms: Rules) -> list[int]:
    """The money of each line that earns points."""
    earning = [line.total_minor for line in lines]
    if paid_minor is not None and not terms.earns_on_part_paid_with_points:
        earning = [total - paid for total, paid in zip(earning, paid_minor, strict=True)]
    if terms.not_earning:
        excluded = terms.not_earning
        earning = [
            0 if excluded.has(line.product_id, line.category) else each
            for line, each in zip(lines, earning, strict=True)
        ]
    return earning


def divide(dividend: int, divisor: int, rounding: Literal["down", "up", "half_even"]) -> int:
    """`dividend / divisor` as a whole number, neither being negative."""
    quotient, rest = divmod(dividend, divisor)
    if rounding == "up":
        return quotient + (rest > 0)
    if rounding == "half_even":
        return quotient + (2 * rest > divisor or (2 * rest == divisor and quotient % 2 == 1))
    return quotient


def split(whole: int, weights: Sequence[int]) -> list[int]:
    """`whole` over the weights, by the largest remainder.

    The parts add up to it; of equal remainders the earlier one gets the unit. Without any weight there is nothing to
    be split. Where `whole` is no more than the weights' sum, no part is more than its weight.
    """
    total = sum(weights)
    if total == 0 or whole == 0:
        return [0] * len(weights)
    parts = []
    remainders = []
    for weight in weights:
        part, remainder = divmod(whole * weight, total)
        parts.append(part)
        remainders.append(remainder)
    missing = whole - sum(parts)
    if missing:
        for place in sorted(range(len(parts)), key=remainders.__getitem__, reverse=True)[:missing]:
            parts[place] += 1
    return parts


def of_returned(points: int, total_minor: int, returned_minor: int) -> int:
    """Of a line's points, those that go with so much of the line come back, counted from the beginning.

    Rounded down until the line is back whole, so that any number of partial returns adds up to the full one.
    """
    return points if total_minor == returned_minor else points * returned_minor // total_minor
