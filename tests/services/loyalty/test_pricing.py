"""What a purchase earns, how it is split over the lines, and what goes with a return."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.pricing import earned_by_returned, price_purchase, split
from services.loyalty.terms import Level, Terms, terms_at

TERMS = Terms(
    in_force_from=datetime(2000, 1, 1, tzinfo=UTC),
    set_by="operator:anna",
    set_at=datetime(2000, 1, 1, tzinfo=UTC),
    points_currency="points",
    point_worth_minor=100,
    currencies=frozenset({"RUB"}),
    levels=(
        Level(code="base", spent_minor_from=0, rate_basis_points=500),
        Level(code="silver", spent_minor_from=5_000_000, rate_basis_points=600),
    ),
    lot_life=None,
    lots_age_while_frozen=True,
    returned_but_spent="other_lots",
)
totals = st.lists(st.integers(0, 10**9), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("total_minor", "points"), [(114_000, 57), (0, 0), (1_999, 0), (2_000, 1), (3_999, 1), (10**13, 5 * 10**9)]
)
def test_a_purchase_earns_five_per_cent_in_whole_points_rounded_down(total_minor: int, points: int) -> None:
    assert price_purchase(total_minor, 0, TERMS).points == points


def test_a_frozen_account_earns_nothing_and_the_pricing_says_so() -> None:
    frozen = price_purchase(114_000, 0, TERMS, is_frozen=True)
    assert (frozen.points, frozen.level, frozen.withheld) == (0, "base", "account_frozen")


@pytest.mark.parametrize(("spent_minor", "level"), [(0, "base"), (4_999_999, "base"), (5_000_000, "silver")])
def test_what_was_spent_before_decides_the_level(spent_minor: int, level: str) -> None:
    assert price_purchase(100_000, spent_minor, TERMS).level == level


def test_a_purchase_is_priced_by_the_terms_of_its_own_time() -> None:
    new = replace(TERMS, in_force_from=datetime(2025, 6, 1, tzinfo=UTC))
    assert terms_at([new, TERMS], datetime(2025, 5, 31, tzinfo=UTC)) is TERMS
    assert terms_at([new, TERMS], datetime(2025, 6, 1, tzinfo=UTC)) is new
    assert terms_at([new, TERMS], datetime(1999, 1, 1, tzinfo=UTC)) is TERMS


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
    taken = [earned_by_returned(earned, paid, each) for each in [*back, paid]]
    assert taken == sorted(taken)
    assert taken[-1] == earned
