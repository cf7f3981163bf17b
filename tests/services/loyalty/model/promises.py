"""What the programme promises, and the arithmetic of its promises."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Any

LEVELS = [("gold", 600_000, 2_000), ("silver", 200_000, 1_000), ("base", 0, 500)]
"""Code, money spent from which on it is reached, basis points that it earns; the highest first."""
TERMS: dict[str, Any] = {
    "levels": [
        {"code": code, "spent_minor_from": spent, "rate_basis_points": rate} for code, spent, rate in reversed(LEVELS)
    ],
    "rounding": "down",
    "rounded_per": "receipt",
    "earns_on_part_paid_with_points": False,
    "not_earning": {"products": []},
    "not_payable": {"products": []},
    "payable_share": 10_000,
    "payable_min_points": 1,
    "payable_step_points": 1,
    "quote_life_s": 86_400,
    "hold_life_s": 900,
    "activates_after_h": 0,
    "lot_life_days": 365,
    "lots_live_on_with_activity": False,
    "lots_age_while_frozen": True,
    "returned_but_spent": "other_lots",
    "refund_revives_days": 30,
}
POINT_WORTH_MINOR = 100
ROUNDING: dict[str, Callable[[Fraction], int]] = {"down": floor, "up": ceil, "half_even": round}


def share(points: int, part: int, whole: int) -> int:
    return points if part == whole else points * part // whole


def spread(whole: int, weights: Sequence[int]) -> list[int]:
    """By the largest remainder; of equal ones the earlier first."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    exact = [Fraction(whole * weight, total) for weight in weights]
    parts = [floor(each) for each in exact]
    by_remainder = sorted(range(len(parts)), key=lambda place: (parts[place] - exact[place], place))
    for place in by_remainder[: whole - sum(parts)]:
        parts[place] += 1
    return parts


def payable(lines: Sequence[int], terms: dict[str, Any]) -> list[int]:
    """The money of each line that can be paid with points."""
    by_line = [0 if f"p{no}" in terms["not_payable"]["products"] else total for no, total in enumerate(lines, 1)]
    whole = sum(lines) * terms["payable_share"] // 10_000
    return by_line if sum(by_line) <= whole else spread(whole, by_line)


def earned(lines: Sequence[int], paid: Sequence[int], spent: int, bonus: int, terms: dict[str, Any]) -> list[int]:
    """The points of each line, of which so much was paid with points, by who has spent so much; `bonus`: their own."""
    rate = Fraction(next(rate for _, least, rate in LEVELS if spent >= least) * bonus, 10_000 * 10_000)
    without = terms["not_earning"]["products"]
    again = terms["earns_on_part_paid_with_points"]
    money = [
        0 if f"p{no}" in without else total - (0 if again else part)
        for no, (total, part) in enumerate(zip(lines, paid, strict=True), 1)
    ]
    rounded = ROUNDING[terms["rounding"]]
    if terms["rounded_per"] == "line":
        return [rounded(each * rate / POINT_WORTH_MINOR) for each in money]
    return spread(rounded(sum(money) * rate / POINT_WORTH_MINOR), money)
