"""What a purchase earns: decisions that take everything they need and touch nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.loyalty.terms import Terms

BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class Pricing:
    """What a purchase earns, and by which level; `withheld` says why it earns nothing."""

    points: int
    level: str
    withheld: str | None = None


def price_purchase(total_minor: int, spent_minor: int, terms: Terms, *, is_frozen: bool = False) -> Pricing:
    """The base offer: the level's share of what was paid, in whole points, rounded down once for the receipt.

    `spent_minor` is what the customer had spent before this purchase. A frozen account earns nothing.
    """
    level = terms.level_at(spent_minor)
    if is_frozen:
        return Pricing(0, level.code, withheld="account_frozen")
    points = total_minor * level.rate_basis_points // (BASIS_POINTS * terms.point_worth_minor)
    return Pricing(points, level.code)


def split(points: int, totals_minor: Sequence[int]) -> list[int]:
    """What each line earned: `points` over the lines by what was paid for them, by the largest remainder.

    The parts add up to `points`; of equal remainders the earlier line gets the point. Without anything paid, nothing
    was earned.
    """
    total_minor = sum(totals_minor)
    if total_minor == 0:
        return [0] * len(totals_minor)
    parts = [points * each // total_minor for each in totals_minor]
    remainders = [points * each % total_minor for each in totals_minor]
    by_remainder = sorted(range(len(parts)), key=lambda place: -remainders[place])
    for place in by_remainder[: points - sum(parts)]:
        parts[place] += 1
    return parts


def earned_by_returned(earned: int, paid_minor: int, returned_minor: int) -> int:
    """Of the points that a line earned, those that go with so much money given back for it, counted from the beginning.

    Rounded down until the line is back whole, so that any number of partial returns adds up to the full one.
    """
    return earned if paid_minor == returned_minor else earned * returned_minor // paid_minor
