"""Any history of purchases, holds, returns, merges and the clock: the ledger is the one that the promises make."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, run_state_machine_as_test

from chassis.settings import Settings
from tests.services.loyalty.machine.comparing import compare, prove
from tests.services.loyalty.machine.history import CARDS, PEOPLE, World
from tests.services.loyalty.machine.meetings import Meetings
from tests.services.loyalty.machine.staff import PROMISES
from tests.services.loyalty.model.promises import TERMS
from tests.services.loyalty.world import NOW

HISTORIES, STEPS, STEPS_LONG = 100, 35, 50
"""Half a minute of one core. `HYPOTHESIS_PROFILE=long` tells others each time, more and longer ones."""
ROUNDS = 5
"""So many times as many where something did not happen: what histories a seed stands for depends on all of the code."""
GIFTS: Sequence[tuple[str, str, int | None]] = (
    ("olga", "main", None),
    ("olga", "main", 20),
    ("ivan", "main", None),
    ("ivan", "main", 20),
    ("olga", "fuel", None),
    ("ivan", "fuel", 20),
)
"""To whom, on which kind of account, and for how many days."""
SEEN = (
    "captured",
    "smaller",
    "late",
    "return",
    "cancellation",
    "expiry",
    "unmerge",
    "fuel expiry",
    "fuel merge",
    "fuel order_payment",
    "fuel refund",
    "fuel return",
    "fuel unmerge",
    "credited",
    "taken away",
    "coefficients",
    "other worth",
    "waited",
    "returned_too_much",
    "waited_too_long",
    "refund",
    "reversal",
    "purchase pays",
    "refund pays",
    "reversal pays",
)


class EveryHistory(Meetings):
    """Each rule does the same to the service and to the model; after each step they are compared."""

    @initialize(promises=st.fixed_dictionaries(PROMISES), gifts=st.tuples(*[st.integers(1, 300) for _ in GIFTS]))
    def begin(self, promises: dict[str, Any], gifts: tuple[int, ...]) -> None:
        async def begin() -> None:
            await self.world.empty()
            await self.loyalty.set_terms(**TERMS | promises)
            self.ids = {person: await self.loyalty.knows(CARDS[person]) for person in PEOPLE}

        self.world.run(begin())
        self.book.promise(datetime.min.replace(tzinfo=NOW.tzinfo), promises)
        for (who, kind, life), points in zip(GIFTS, gifts, strict=True):
            self.points_are_given(who, kind, points, None, life)

    @invariant()
    def they_are_the_same(self) -> None:
        if self.ids:
            self.world.run(compare(self))

    def teardown(self) -> None:
        if self.ids:
            self.world.run(prove(self))


@pytest.fixture(scope="module")
def world(migrated: Settings) -> Iterator[World]:
    with asyncio.Runner() as runner:
        world = World(migrated, runner)
        yield world
        runner.run(world.empty())
        runner.run(world.loyalty.close())


def test_any_history_makes_the_ledger_that_is_promised(world: World) -> None:
    EveryHistory.world = world
    profile = settings.default
    assert profile is not None
    if profile.max_examples > HISTORIES:
        tell(settings(profile, stateful_step_count=STEPS_LONG))
    else:
        short = settings(profile, max_examples=HISTORIES, stateful_step_count=STEPS, database=None)
        for number in range(ROUNDS):
            tell(short, number)
            if all(world.told[happened] for happened in SEEN):
                break
    assert world.told["steps"] >= 2_000, world.told
    for happened in SEEN:
        assert world.told[happened] > 0, world.told


def tell(how: settings, number: int | None = None) -> None:
    """Histories, the same ones for the same number."""
    told = EveryHistory if number is None else seed(number)(EveryHistory)
    how = settings(how, report_multiple_bugs=False, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(told, settings=how)
