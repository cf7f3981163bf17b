"""Paying with points: how much of a receipt, and what points are worth. Decisions that touch nothing."""

from collections.abc import Sequence

from services.loyalty.pricing import PricedLine, split
from services.loyalty.terms import BASIS_POINTS, PointsCurrencyTerms, Rules


def payable_minor(lines: Sequence[PricedLine], terms: Rules) -> list[int]:
    """The most that can be paid with points of each line, so that the receipt's own share is kept as well."""
    excluded = terms.not_payable
    by_line = [
        0
        if excluded and excluded.has(line.product_id, line.category)
        else line.total_minor * terms.payable_line_share // BASIS_POINTS
        for line in lines
    ]
    of_receipt = sum(line.total_minor for line in lines) * terms.payable_share // BASIS_POINTS
    return by_line if sum(by_line) <= of_receipt else split(of_receipt, by_line)


def worth_minor(points: int, currency: PointsCurrencyTerms, redemption_coefficient: int) -> int:
    """Money that so many points stand for, rounded down."""
    return points * currency.worth_minor * redemption_coefficient // (currency.unit * BASIS_POINTS)


def least_points(money_minor: int, currency: PointsCurrencyTerms, redemption_coefficient: int) -> int:
    """The fewest points that stand for so much money; where points stand for nothing, none do."""
    worth = currency.worth_minor * redemption_coefficient
    return -(-money_minor * currency.unit * BASIS_POINTS // worth) if worth else 0


def most_points(
    payable: int, available: int, currency: PointsCurrencyTerms, redemption_coefficient: int, terms: Rules
) -> int:
    """The most points that can be paid with, of those available: a multiple of the step, or 0 below the minimum."""
    worth = currency.worth_minor * redemption_coefficient
    points = min(payable * currency.unit * BASIS_POINTS // worth, available) if worth else 0
    points -= points % terms.payable_step_points
    return points if points >= terms.payable_min_points else 0


def paid_by_line(paid_minor: int, lines: Sequence[PricedLine], terms: Rules) -> list[int]:
    """What of each line was paid with points: over what is payable, or over all lines where that is less."""
    payable = payable_minor(lines, terms)
    totals = [line.total_minor for line in lines]
    weights = payable if sum(payable) >= paid_minor else totals
    return split(min(paid_minor, sum(totals)), weights)
