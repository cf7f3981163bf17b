"""What the programme promises, and the arithmetic of its promises."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any

from tests.services.loyalty.model.lots import Account

LEVELS = [("gold", 600_000, 2_000), ("silver", 200_000, 1_000), ("base", 0, 500)]
"""Code, money spent from which on it is reached, basis points that it earns; the highest first."""
POINTS = {"code": "points", "name_ru": "баллы", "name_en": "points", "worth_minor": 100}
LITRES = {"code": "litres", "name_ru": "литры", "name_en": "litres", "scale": 2, "worth_minor": 6_050}
MAIN = {"code": "main", "name_ru": "Основной", "name_en": "Main", "points_currency": "points"}
FUEL = {
    "code": "fuel",
    "name_ru": "Топливный",
    "name_en": "Fuel",
    "points_currency": "litres",
    "establishment": "stations",
    "earns": True,
}
STATIONS = {"code": "stations", "name_ru": "АЗС", "name_en": "Stations", "stores": ["500"]}
WORTH = {"main": Fraction(100), "fuel": Fraction(6_050, 100)}
"""Money that the smallest unit of an account's points stands for."""
TERMS: dict[str, Any] = {
    "points_currencies": [POINTS, LITRES],
    "account_kinds": [MAIN, FUEL],
    "establishments": [STATIONS],
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
    "limits": [],
}
DAY = timedelta(days=1)
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


def opens_in(kind: str, store: str, terms: dict[str, Any]) -> bool:
    """Whether points on such accounts are good there."""
    (meant,) = [each for each in terms["account_kinds"] if each["code"] == kind]
    stores = {each["code"]: each["stores"] for each in terms["establishments"]}
    return "establishment" not in meant or store in stores[meant["establishment"]]


def earning_kind(store: str, terms: dict[str, Any]) -> str:
    """On which accounts purchases there earn."""
    own = [each["code"] for each in terms["account_kinds"] if each.get("earns")]
    return next((kind for kind in own if opens_in(kind, store, terms)), "main")


def begins_and_ends(
    earned_at: datetime, now: datetime, terms: dict[str, Any]
) -> tuple[datetime | None, datetime | None]:
    """From when what was earned then can be spent, None: now; and when it burns, None: never."""
    begins, life = earned_at + timedelta(hours=terms["activates_after_h"]), terms["lot_life_days"]
    return (
        begins if terms["activates_after_h"] and begins > now else None,
        None if life is None else begins + timedelta(days=life),
    )


def broken(times: Sequence[datetime], at: datetime, total: int, terms: dict[str, Any]) -> list[dict[str, Any]]:
    """The limits that a purchase of so much then breaks, by whose other purchases were at these times."""
    ends = [at, *(each for each in times if at < each < at + DAY)]
    within = max(sum(end - DAY < each <= end for each in times) for end in ends)
    counted = {"receipt_total_minor": total, "purchases": 1 + within}
    return [limit for limit in terms["limits"] if counted[limit["measure"]] > limit["most"]]


def worth_of_point(account: Account) -> Fraction:
    """Money that a point on the account stands for when paid with."""
    return WORTH[account.kind] * Fraction(account.redemption, 10_000)


def earned(lines: Sequence[int], paid: Sequence[int], account: Account, terms: dict[str, Any]) -> list[int]:
    """The points of each line, of which so much was paid with points."""
    rate = Fraction(next(rate for _, least, rate in LEVELS if account.spent >= least) * account.bonus, 10_000 * 10_000)
    worth = WORTH[account.kind]
    without = terms["not_earning"]["products"]
    again = terms["earns_on_part_paid_with_points"]
    money = [
        0 if f"p{no}" in without else total - (0 if again else part)
        for no, (total, part) in enumerate(zip(lines, paid, strict=True), 1)
    ]
    rounded = ROUNDING[terms["rounding"]]
    if terms["rounded_per"] == "line":
        return [rounded(each * rate / worth) for each in money]
    return spread(rounded(sum(money) * rate / worth), money)
