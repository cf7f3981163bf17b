"""Splitting a batch over handlers, as laws."""

from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chassis.layers import layers

Record = tuple[str | None, str, int]
TYPES = ("bought", "returned", "cancelled")
batches = st.lists(st.tuples(st.sampled_from([None, "a", "b", "c", "d"]), st.sampled_from(TYPES))).map(
    lambda pairs: [(key, record_type, number) for number, (key, record_type) in enumerate(pairs)]
)


@given(batches)
def test_every_record_is_handled_once_by_the_handler_of_its_type(batch: list[Record]) -> None:
    handled = [(record_type, number) for record_type, group in layers(batch) for number in group]
    assert sorted(handled, key=lambda each: each[1]) == [(record_type, number) for _, record_type, number in batch]


@given(batches)
def test_records_of_one_key_are_handled_in_their_order(batch: list[Record]) -> None:
    key_of = {number: key for key, _, number in batch}
    order = defaultdict(list)
    for _, group in layers(batch):
        for number in group:
            order[key_of[number]].append(number)
    assert all(numbers == sorted(numbers) for key, numbers in order.items() if key is not None)


@given(batches)
def test_neighbours_of_one_key_and_type_share_a_call(batch: list[Record]) -> None:
    call_of = {number: call for call, (_, group) in enumerate(layers(batch)) for number in group}
    for key in {key for key, _, _ in batch}:
        mine = [(record_type, number) for each, record_type, number in batch if each == key]
        for (one_type, one), (next_type, following) in pairwise(mine):
            assert (call_of[one] == call_of[following]) == (one_type == next_type) or key is None


@given(batches)
def test_there_are_no_more_calls_than_the_longest_key_needs(batch: list[Record]) -> None:
    changes: dict[str | None, int] = defaultdict(int)
    last: dict[str | None, str] = {}
    for key, record_type, _ in batch:
        changes[key] += key is not None and last.get(key, record_type) != record_type
        last[key] = record_type
    assert len(layers(batch)) <= (1 + max(changes.values(), default=0)) * len(TYPES)


def test_a_batch_of_one_type_is_one_call() -> None:
    assert layers(("ab"[number % 2], "bought", number) for number in range(10)) == [("bought", list(range(10)))]
