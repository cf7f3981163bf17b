"""What a purchase earns, how it is split over the lines, and what goes with a return."""

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import new_id
from services.loyalty.paying import least_points, most_points, paid_by_line, payable_minor, worth_minor
from services.loyalty.pricing import Pricing, Standing, divide, of_returned, price_purchase, split
from services.loyalty.purchases import Line
from services.loyalty.terms import Excluded, Level, PointsCurrencyTerms, Terms, terms_at

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def some_terms(**rules: Any) -> Terms:
    levels = (
        Level(code="base", spent_minor_from=0, rate_basis_points=500),
        Level(code="silver", spent_minor_from=5_000_000, rate_basis_points=600),
    )
    return Terms(
        **{"id": new_id(), "in_force_from": LONG_AGO, "set_by": "operator:anna", "set_at": LONG_AGO, "levels": levels}
        | rules
    )


def lines(*totals_minor: int, products: Sequence[str] = ()) -> list[Line]:
    named = dict(enumerate(products))
    return [
        Line(place + 1, named.get(place, "p"), "BREAD", "1", total, 0, 0, 0) for place, total in enumerate(totals_minor)
    ]


def price(
    *totals_minor: int, standing: Standing | None = None, paid: Sequence[int] | None = None, **rules: Any
) -> Pricing:
    terms = some_terms(**rules)
    return price_purchase(lines(*totals_minor), paid, standing or Standing(), terms.currency_of("main"), terms)


totals = st.lists(st.integers(0, 10**9), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("total_minor", "points"), [(114_000, 57), (0, 0), (1_999, 0), (2_000, 1), (3_999, 1), (10**13, 5 * 10**9)]
)
def test_a_purchase_earns_five_per_cent_in_whole_points_rounded_down(total_minor: int, points: int) -> None:
    assert price(total_minor).points == points


def test_a_frozen_account_earns_nothing_and_the_pricing_says_so() -> None:
    frozen = price(114_000, standing=Standing(withheld="account_frozen"))
    assert (frozen.points, frozen.level, frozen.withheld) == (0, "base", "account_frozen")


@pytest.mark.parametrize(("spent_minor", "level"), [(0, "base"), (4_999_999, "base"), (5_000_000, "silver")])
def test_what_was_spent_before_decides_the_level(spent_minor: int, level: str) -> None:
    assert price(100_000, standing=Standing(spent_minor)).level == level


def test_a_purchase_is_priced_by_the_terms_of_its_own_time() -> None:
    old, new = some_terms(), some_terms(in_force_from=datetime(2025, 6, 1, tzinfo=UTC))
    assert terms_at([new, old], datetime(2025, 5, 31, tzinfo=UTC)) is old
    assert terms_at([new, old], datetime(2025, 6, 1, tzinfo=UTC)) is new
    assert terms_at([new, old], datetime(1999, 1, 1, tzinfo=UTC)) is old


@given(totals, st.integers(0, 10**9))
def test_what_the_lines_earned_adds_up_to_what_the_receipt_earned(totals_minor: list[int], points: int) -> None:
    parts = split(points, totals_minor)
    assert sum(parts) == (points if sum(totals_minor) else 0)


@given(totals, st.integers(0, 10**9))
def test_a_line_is_never_a_point_away_from_its_exact_share(totals_minor: list[int], points: int) -> None:
    total = sum(totals_minor)
    for part, line in zip(split(points, totals_minor), totals_minor, strict=True):
        assert total == 0 or abs(part * total - points * line) < total


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.data())
def test_partial_returns_never_take_more_than_was_earned_and_all_of_it_in_the_end(
    earned: int, paid: int, data: st.DataObject
) -> None:
    back = data.draw(st.lists(st.integers(0, paid), max_size=5).map(sorted))
    taken = [of_returned(earned, paid, each) for each in [*back, paid]]
    assert taken == sorted(taken)
    assert taken[-1] == earned


@pytest.mark.parametrize(("rounding", "points"), [("down", [0, 1, 2]), ("up", [1, 2, 3]), ("half_even", [0, 2, 2])])
def test_a_part_of_a_point_is_rounded_as_the_terms_say(rounding: str, points: list[int]) -> None:
    earned = [price(total, rounding=rounding).points for total in (1_000, 3_000, 5_000)]
    assert earned == points


def test_points_are_rounded_once_for_the_receipt_or_for_each_line() -> None:
    assert price(1_000, 1_000, 1_000).points == 1
    assert price(1_000, 1_000, 1_000, rounded_per="line").points == 0
    by_line = price(1_000, 3_000, rounded_per="line", rounding="up")
    assert (by_line.points, by_line.line_points) == (3, [1, 2])


def test_excluded_lines_earn_nothing_and_the_others_as_before() -> None:
    terms = some_terms(not_earning=Excluded(products=frozenset({"cigarettes"})))
    bought = lines(100_000, 40_000, products=["milk", "cigarettes"])
    priced = price_purchase(bought, None, Standing(), terms.currency_of("main"), terms)
    assert priced.line_points == [50, 0]


def test_points_are_earned_on_the_part_paid_with_points_only_if_the_terms_choose_so() -> None:
    assert price(100_000, 20_000, paid=[40_000, 0]).line_points == [30, 10]
    assert price(100_000, 20_000, paid=[40_000, 0], earns_on_part_paid_with_points=True).line_points == [50, 10]


def test_the_customers_own_coefficient_multiplies_what_is_earned() -> None:
    assert price(100_000, standing=Standing(bonus_coefficient=15_000)).points == 75


def test_points_of_a_scale_are_counted_in_their_smallest_unit() -> None:
    rubles = PointsCurrencyTerms(code="points", name_ru="рубли", name_en="roubles", scale=2, worth_minor=100)
    assert price(1_999, points_currencies=(rubles,)).points == 99
    assert worth_minor(99, rubles, 10_000) == 99


@given(st.integers(0, 10**12), st.integers(1, 10**9))
def test_half_even_is_the_nearest_and_of_two_the_even_one(dividend: int, divisor: int) -> None:
    assert divide(dividend, divisor, "half_even") == round(Fraction(dividend, divisor))


shares = st.integers(0, 10_000)


@given(totals, shares, shares)
def test_no_more_is_payable_with_points_than_the_shares_of_receipt_and_lines(
    totals_minor: list[int], of_receipt: int, of_line: int
) -> None:
    terms = some_terms(payable_share=of_receipt, payable_line_share=of_line)
    payable = payable_minor(lines(*totals_minor), terms)
    assert sum(payable) * 10_000 <= sum(totals_minor) * of_receipt
    assert all(part * 10_000 <= total * of_line for part, total in zip(payable, totals_minor, strict=True))
    if sum(total * of_line // 10_000 for total in totals_minor) >= sum(totals_minor) * of_receipt // 10_000:
        assert sum(payable) == sum(totals_minor) * of_receipt // 10_000


currencies = st.builds(
    PointsCurrencyTerms,
    code=st.just("points"),
    name_ru=st.just("баллы"),
    name_en=st.just("points"),
    scale=st.integers(0, 4),
    worth_minor=st.integers(1, 1000),
)


@given(currencies, st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 20_000), st.integers(1, 50))
def test_the_most_points_are_worth_no_more_than_is_payable_and_one_step_more_would_be(
    currency: PointsCurrencyTerms, payable: int, available: int, coefficient: int, step: int
) -> None:
    terms = some_terms(payable_step_points=step)
    points = most_points(payable, available, currency, coefficient, terms)
    assert points % step == 0
    assert points <= available
    assert worth_minor(points, currency, coefficient) <= payable
    more = points + step
    exact = Fraction(more * currency.worth_minor * coefficient, 10**currency.scale * 10_000)
    assert more > available or exact > payable


@given(currencies, st.integers(0, 10**9), st.integers(1, 20_000))
def test_the_fewest_points_cover_the_money_and_one_less_would_not(
    currency: PointsCurrencyTerms, money: int, coefficient: int
) -> None:
    points = least_points(money, currency, coefficient)
    assert worth_minor(points, currency, coefficient) >= money
    assert points == 0 or worth_minor(points - 1, currency, coefficient) < money


def test_points_that_stand_for_nothing_cover_nothing() -> None:
    currency = PointsCurrencyTerms(code="points", name_ru="баллы", name_en="points", worth_minor=100)
    assert least_points(0, currency, 0) == 0


@given(totals, shares, st.data())
def test_what_was_paid_with_points_is_split_over_the_lines_within_what_each_can_pay(
    totals_minor: list[int], of_line: int, data: st.DataObject
) -> None:
    terms = some_terms(payable_line_share=of_line)
    bought = lines(*totals_minor)
    payable = payable_minor(bought, terms)
    paid = data.draw(st.integers(0, sum(payable)))
    by_line = paid_by_line(paid, bought, terms)
    assert sum(by_line) == paid
    assert all(part <= most for part, most in zip(by_line, payable, strict=True))
