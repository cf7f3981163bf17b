"""The RFM rule, as the issue states it and as a law."""

from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.segmentation import RfmSegment
from services.segmentation.rfm import Scores, Standing, quintiles, score, segment
from tests.services.segmentation.world import DAY, NOW

STATED: dict[RfmSegment, tuple[range, range]] = {
    "hibernating": (range(1, 3), range(1, 3)),
    "at_risk": (range(1, 3), range(3, 5)),
    "cant_lose": (range(1, 3), range(5, 6)),
    "about_to_sleep": (range(3, 4), range(1, 3)),
    "need_attention": (range(3, 4), range(3, 4)),
    "loyal": (range(3, 5), range(4, 6)),
    "promising": (range(4, 5), range(1, 2)),
    "new": (range(5, 6), range(1, 2)),
    "potential_loyalist": (range(4, 6), range(2, 4)),
    "champions": (range(5, 6), range(4, 6)),
}
values = st.dictionaries(st.integers(), st.integers(-5, 5) | st.integers(), min_size=1)
standings = st.dictionaries(
    st.integers(),
    st.builds(
        Standing,
        last_purchase_at=st.integers(0, 400).map(lambda days: NOW - days * DAY),
        purchases=st.integers(1, 9),
        spent=st.dictionaries(st.sampled_from(["RUB", "KZT"]), st.integers(0, 50), min_size=1),
    ),
    min_size=1,
)


@pytest.mark.parametrize("frequency", range(1, 6))
@pytest.mark.parametrize("recency", range(1, 6))
def test_each_of_the_25_cells_has_the_one_segment_that_is_stated(recency: int, frequency: int) -> None:
    stated = [name for name, (r, f) in STATED.items() if recency in r and frequency in f]
    assert stated == [segment(recency, frequency)]


def test_all_ten_segments_are_in_the_map() -> None:
    assert {segment(r, f) for r in range(1, 6) for f in range(1, 6)} == set(get_args(RfmSegment))


@given(values)
def test_equal_values_have_equal_scores_and_a_larger_one_never_a_lower_score(values: dict[int, int]) -> None:
    scores = quintiles(values)
    assert scores.keys() == values.keys()
    assert set(scores.values()) <= {1, 2, 3, 4, 5}
    ascending = sorted(values, key=lambda key: values[key])
    for lower, higher in pairwise(ascending):
        assert scores[lower] <= scores[higher]
        assert values[lower] != values[higher] or scores[lower] == scores[higher]


@given(values, st.randoms())
def test_the_order_in_which_customers_come_does_not_matter(values: dict[int, int], random: Random) -> None:
    shuffled = list(values.items())
    random.shuffle(shuffled)
    assert quintiles(dict(shuffled)) == quintiles(values)


@given(st.sets(st.integers(), min_size=5, max_size=5), st.integers(1, 20))
def test_five_equal_groups_of_different_values_score_one_to_five(groups: set[int], size: int) -> None:
    values = {(place, number): value for place, value in enumerate(sorted(groups)) for number in range(size)}
    assert quintiles(values) == {(place, number): place + 1 for place, number in values}


@given(values)
def test_no_score_is_given_to_more_than_its_fifth_unless_they_are_equal(values: dict[int, int]) -> None:
    scores = quintiles(values)
    for wanted in range(1, 6):
        scored = sorted(values[key] for key, given in scores.items() if given == wanted)
        but_the_last_value = [value for value in scored if value != scored[-1]]
        assert 5 * len(but_the_last_value) <= len(values)


@given(st.integers(1, 50))
def test_where_all_are_equal_all_score_one(size: int) -> None:
    assert set(quintiles(dict.fromkeys(range(size), 7)).values()) == {1}


def test_the_crowd_that_bought_once_scores_one_however_large_it_is() -> None:
    values = dict.fromkeys(range(70), 1) | {100: 2}
    assert quintiles(values)[0] == 1
    assert quintiles(values)[100] == 5


def test_the_first_customer_ever_is_new() -> None:
    assert score({1: Standing(NOW, 1, {"RUB": 100})}, NOW) == {1: Scores(5, 1, 1)}
    assert Scores(5, 1, 1).segment == "new"


@given(standings)
def test_who_bought_later_never_has_a_lower_recency(standings: dict[int, Standing]) -> None:
    scores = score(standings, NOW)
    earliest_first = sorted(standings, key=lambda key: standings[key].last_purchase_at)
    for earlier, later in pairwise(earliest_first):
        assert scores[earlier].recency <= scores[later].recency


@given(standings, st.integers(0, 1000))
def test_scores_do_not_change_because_time_passes(standings: dict[int, Standing], hours: int) -> None:
    assert score(standings, NOW + timedelta(hours=hours)) == score(standings, NOW)


def test_money_is_compared_within_its_currency_and_the_best_score_is_kept() -> None:
    roubles = {number: Standing(NOW, 1, {"RUB": 1000 * number}) for number in range(1, 5)}
    tenges = {10 + number: Standing(NOW, 1, {"KZT": number}) for number in range(1, 5)}
    both = {100: Standing(NOW, 2, {"RUB": 1, "KZT": 100})}
    monetary = {customer: each.monetary for customer, each in score(roubles | tenges | both, NOW).items()}
    assert monetary == {1: 2, 2: 3, 3: 4, 4: 5, 11: 1, 12: 2, 13: 3, 14: 4, 100: 5}
