"""What happens at the tills: always the same, in order, and never more comes back than was bought."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.sandbox.tills.afterwards import LATEST, Shares, afterwards
from deploy.sandbox.tills.baskets import Basket, Line
from deploy.sandbox.tills.happenings import BEGINNING, Happening, Place, happenings

SHARES = Shares(returned=0.2, cancelled=0.05)
AT = datetime(2017, 5, 1, 12, tzinfo=UTC)
LINES = st.builds(
    lambda pieces, total, is_fuel: (pieces, total, is_fuel),
    st.integers(1, 12),
    st.integers(0, 10_000),
    st.booleans(),
)


def basket_of(lines: list[tuple[int, int, bool]]) -> Basket:
    made = [
        Line(place, "1", None, Decimal(pieces) / (1000 if is_fuel else 1), total, 0, is_fuel)
        for place, (pieces, total, is_fuel) in enumerate(lines, start=1)
    ]
    return Basket(1, 900, 330, AT, tuple(made))


@settings(deadline=None, max_examples=500)
@given(st.lists(LINES, min_size=1, max_size=6), st.integers())
def test_returns_never_exceed_what_was_bought_and_a_whole_line_back_is_its_whole_money(
    lines: list[tuple[int, int, bool]], seed: int
) -> None:
    basket = basket_of(lines)
    later = afterwards(basket, Random(seed), Shares(returned=1, cancelled=0))
    pieces: Counter[int] = Counter()
    money: Counter[int] = Counter()
    last = basket.at
    for each in later:
        assert each.lines
        assert last < each.at <= basket.at + LATEST
        last = each.at
        assert len({line.line_no for line in each.lines}) == len(each.lines)
        for line in each.lines:
            assert line.quantity >= 1
            pieces[line.line_no] += int(line.quantity)
            money[line.line_no] += line.total_minor
    for bought in basket.lines:
        assert pieces[bought.line_no] <= (0 if bought.is_fuel else bought.quantity)
        assert 0 <= money[bought.line_no] <= bought.total_minor
        if pieces[bought.line_no] == bought.quantity:
            assert money[bought.line_no] == bought.total_minor


@given(st.lists(LINES, min_size=1, max_size=6), st.integers())
def test_a_cancelled_purchase_has_no_returns(lines: list[tuple[int, int, bool]], seed: int) -> None:
    (only,) = afterwards(basket_of(lines), Random(seed), Shares(returned=0, cancelled=1))
    assert only.lines == ()
    assert AT < only.at < AT + timedelta(minutes=11)


@pytest.fixture(scope="module")
def first() -> list[Happening]:
    return list(islice(happenings(7, SHARES), 4000))


def test_the_same_seed_makes_the_same_things_happen_and_another_one_others(first: list[Happening]) -> None:
    assert list(islice(happenings(7, SHARES), 4000)) == first
    assert list(islice(happenings(8, SHARES), 4000)) != first


def test_all_is_in_one_order_and_what_comes_afterwards_comes_afterwards(first: list[Happening]) -> None:
    places = [happening.place for happening in first]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    bought: set[int] = set()
    for happening in first:
        if happening.afterwards is None:
            bought.add(happening.basket.basket_id)
        else:
            assert happening.basket.basket_id in bought


def test_about_as_many_are_returned_and_cancelled_as_was_asked_for() -> None:
    year = list(islice(happenings(1, Shares(returned=0.03, cancelled=0.005)), 20_000))
    of: dict[str, set[int]] = defaultdict(set)
    for happening in year:
        later = happening.afterwards
        of["bought" if later is None else "returned" if later.lines else "cancelled"].add(happening.basket.basket_id)
    assert 0.02 < len(of["returned"]) / len(of["bought"]) < 0.04
    assert 0.003 < len(of["cancelled"]) / len(of["bought"]) < 0.007
    partly = [each for each in year if each.afterwards and 0 < len(each.afterwards.lines) < len(each.basket.lines)]
    wholly = [each for each in year if each.afterwards and len(each.afterwards.lines) == len(each.basket.lines)]
    assert len(partly) > 100
    assert len(wholly) > 100


@pytest.mark.parametrize("place", [0, 1, 1234, 2500])
def test_going_on_after_any_place_is_going_on_as_if_nothing_had_been(first: list[Happening], place: int) -> None:
    assert list(islice(happenings(7, SHARES, after=first[place].place), 1000)) == first[place + 1 : place + 1001]


def test_going_on_right_before_a_return_brings_the_return(first: list[Happening]) -> None:
    place = next(place for place, each in enumerate(first) if each.afterwards is not None and place > 2000)
    assert next(happenings(7, SHARES, after=first[place - 1].place)) == first[place]


def test_after_the_years_end_it_begins_anew_with_late_returns_before_it() -> None:
    late = Place(0, datetime(2018, 1, 1, 3, tzinfo=UTC), 0, 0)
    last, new = split(happenings(1, SHARES, after=late))
    assert any(each.afterwards is not None and each.place.at > datetime(2018, 1, 8, tzinfo=UTC) for each in last)
    beginning = next(happenings(1, SHARES))
    assert new.basket == beginning.basket
    assert new.place == beginning.place._replace(year=1)
    assert new.place > BEGINNING


def split(coming: Iterator[Happening]) -> tuple[list[Happening], Happening]:
    last: list[Happening] = []
    for each in coming:
        if each.place.year == 1:
            return last, each
        last.append(each)
    raise AssertionError("the year does not end")
