"""Which lots points are taken from: a law for any lots and any number of points."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.loyalty.lots import Lot, moved, take

START = datetime(2025, 1, 1, tzinfo=UTC)


@st.composite
def some_lots(draw: st.DrawFn) -> list[Lot]:
    """As the database orders them: by their end, the endless last."""
    days = sorted(draw(st.lists(st.integers(0, 400), max_size=8)))
    endless = draw(st.integers(0, 2))
    ends = [START + timedelta(days=each) for each in days] + [None] * endless
    return [Lot(UUID(int=number), draw(st.integers(1, 100)), end) for number, end in enumerate(ends, 1)]


@given(some_lots(), st.integers(0, 1000))
def test_points_are_taken_from_the_soonest_expiring_and_never_more_than_there_are(lots: list[Lot], points: int) -> None:
    taken = {movement.lot: -movement.points for movement in take(lots, points)}

    assert sum(taken.values()) == min(points, sum(lot.free for lot in lots))
    left = [lot.free - taken.get(lot.source, 0) for lot in lots]
    assert min(left, default=0) >= 0
    touched = [place for place, lot in enumerate(lots) if lot.source in taken]
    assert touched == list(range(len(touched)))
    assert all(left[place] == 0 for place in touched[:-1])


@given(some_lots(), st.integers(0, 1000), st.data())
def test_the_lot_that_is_named_is_emptied_first(lots: list[Lot], points: int, data: st.DataObject) -> None:
    if not lots:
        return
    own = data.draw(st.sampled_from(lots))
    movements = take(lots, points, first=own.source)
    of_own = -moved([movement for movement in movements if movement.lot == own.source])
    assert of_own == min(points, own.free)
    assert -moved(movements) == min(points, sum(lot.free for lot in lots))
