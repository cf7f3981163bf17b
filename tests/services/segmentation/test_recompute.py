"""Scoring everybody in SQL, and saying who moved."""

import asyncio
import os
import random
from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from contracts.loyalty import PointsAccrued, PointsReturned
from services.segmentation import recompute
from services.segmentation.moves import say_moves
from services.segmentation.recompute import score_everybody
from services.segmentation.rfm import Scores, Standing, score
from services.segmentation.window import set_window
from tests.services.segmentation.world import (
    DAY,
    NOW,
    OpenSegmentation,
    Segmentation,
    accrued,
    batches,
    came_back,
    cancelled,
    ids,
)

SEEDS = int(os.environ.get("KOPILKA_SEEDS", "10"))
SCORES = "SELECT customer_id, recency, frequency, monetary, segment FROM rfm WHERE segment IS NOT NULL"


async def scores(segmentation: Segmentation) -> dict[UUID, Scores]:
    rows = await segmentation.rows(SCORES)
    found = {row["customer_id"]: Scores(row["recency"], row["frequency"], row["monetary"]) for row in rows}
    assert {row["customer_id"]: row["segment"] for row in rows} == {key: each.segment for key, each in found.items()}
    return found


def a_random_chain(seed: int) -> list[PointsAccrued | PointsReturned]:
    """Many ties, two currencies, purchases on both sides of the window's edges, returns and cancellations."""
    chance = random.Random(seed)
    people = ids(chance.choice([1, 2, 3, 5, 40, 150]))
    events: list[PointsAccrued | PointsReturned] = []
    for _ in range(len(people) * chance.randint(1, 4)):
        at = NOW - chance.choice([0, 1, 30, 364, 365, 366, 500]) * DAY
        at += chance.choice([-1, 0, 1]) * timedelta(microseconds=1)
        total = chance.choice([0, 100, 500, chance.randint(1, 10**6)])
        currency = chance.choice(["RUB", "RUB", "KZT"])
        purchase = accrued(chance.choice(people), total, at=at, currency=currency)
        events.append(purchase)
        if chance.random() < 0.2:
            events.append(came_back(purchase, chance.choice([total, total // 2])))
        if chance.random() < 0.05:
            events.append(cancelled(purchase))
    return events


def standings(events: list[PointsAccrued | PointsReturned], days: int) -> dict[UUID, Standing]:
    """The window's purchases of each customer, in plain sums."""
    returned, gone = Counter[str](), set[str]()
    for event in events:
        if isinstance(event, PointsReturned):
            returned[event.receipt_id] += event.total_minor
            gone |= {event.receipt_id} if event.cause == "cancellation" else set()
    of_customer: dict[UUID, list[PointsAccrued]] = defaultdict(list)
    for event in events:
        if isinstance(event, PointsAccrued) and event.receipt_id not in gone:
            is_whole = event.total_minor == 0 or returned[event.receipt_id] < event.total_minor
            if is_whole and NOW - days * DAY < event.completed_at <= NOW:
                of_customer[event.customer_id].append(event)
    found = {}
    for customer, bought in of_customer.items():
        spent = Counter[str]()
        for event in bought:
            spent[event.currency] += event.total_minor - returned[event.receipt_id]
        found[customer] = Standing(max(event.completed_at for event in bought), len(bought), dict(spent))
    return found


@pytest.mark.parametrize("seed", range(3 * SEEDS))
async def test_sql_scores_as_the_rule_does(segmentation: Segmentation, seed: int) -> None:
    events = a_random_chain(seed)
    days = random.Random(seed).choice([30, 365])
    async with segmentation.database.transaction() as tx:
        await set_window(tx, days)
    for batch in batches(events, 100):
        await segmentation.hear(*batch)
    await segmentation.recompute()
    wanted = standings(events, days)
    assert await scores(segmentation) == score(wanted, NOW)
    cells = {(row["recency"], row["frequency"]): row for row in await segmentation.rows("SELECT * FROM rfm_cells")}
    assert len(cells) == 25
    assert sum(cell["customers"] for cell in cells.values()) == len(wanted)
    assert sum(cell["purchases"] for cell in cells.values()) == sum(each.purchases for each in wanted.values())
    for customer, scored in score(wanted, NOW).items():
        cells[scored.recency, scored.frequency]["spent"]["counted"] = True
        for currency, total in wanted[customer].spent.items():
            cells[scored.recency, scored.frequency]["spent"][currency] -= total
    assert all(not total for cell in cells.values() for name, total in cell["spent"].items() if name != "counted")


async def test_who_moved_is_said_once_with_before_and_after(segmentation: Segmentation) -> None:
    anna, boris = ids(2)
    await segmentation.hear(accrued(anna, at=NOW - 9 * DAY))
    await segmentation.recompute()
    await segmentation.recompute()
    (first,) = await segmentation.said()
    assert (first.customer_id, first.before, first.after) == (anna, None, "new")
    assert (first.recency, first.frequency, first.monetary) == (5, 1, 1)

    segmentation.now = NOW + DAY
    await segmentation.hear(accrued(boris, at=NOW))
    await segmentation.recompute()
    moved = {(move.customer_id, move.before, move.after) for move in (await segmentation.said())[1:]}
    assert moved == {(boris, None, "new"), (anna, "new", "about_to_sleep")}
    assert all(move.moved_at == NOW + DAY for move in (await segmentation.said())[1:])


async def test_who_keeps_the_segment_is_not_said_though_the_scores_change(segmentation: Segmentation) -> None:
    people = ids(5)
    await segmentation.hear(*(accrued(who, 1000 * n, at=NOW - n * DAY) for n, who in enumerate(people, 1)))
    await segmentation.recompute()
    said = len(await segmentation.said())
    before = await scores(segmentation)
    richest = max(people, key=lambda who: before[who].monetary)
    poorest = min(people, key=lambda who: before[who].monetary)
    last = await segmentation.one("SELECT last_purchase_at AS at FROM features WHERE customer_id = :who", who=poorest)
    await segmentation.hear(accrued(richest, at=NOW - 90 * DAY), *(accrued(who, at=NOW - 90 * DAY) for who in people))
    bonus = accrued(poorest, 10**6, at=last["at"] - DAY)
    await segmentation.hear(bonus)
    await segmentation.recompute()
    after = await scores(segmentation)
    assert after[poorest].monetary > before[poorest].monetary
    moved = {move.customer_id for move in (await segmentation.said())[said:]}
    assert moved == {who for who in people if after[who].segment != before[who].segment}


async def test_who_has_not_bought_within_the_window_leaves_their_segment(segmentation: Segmentation) -> None:
    anna, boris = ids(2)
    await segmentation.hear(accrued(anna, at=NOW - 300 * DAY), accrued(boris))
    await segmentation.recompute()
    segmentation.now = NOW + 100 * DAY
    await segmentation.recompute()
    left = [move for move in await segmentation.said() if move.customer_id == anna][-1]
    assert (left.before, left.after) == ("about_to_sleep", None)
    assert (left.recency, left.frequency, left.monetary) == (None, None, None)
    assert set(await scores(segmentation)) == {boris}
    await segmentation.hear(accrued(anna, at=segmentation.now))
    await segmentation.recompute()
    back = [move for move in await segmentation.said() if move.customer_id == anna][-1]
    assert (back.before, back.after) == (None, "new")


async def test_a_cancelled_only_purchase_leaves_no_segment(segmentation: Segmentation) -> None:
    (anna,) = ids(1)
    purchase = accrued(anna)
    await segmentation.hear(purchase)
    await segmentation.recompute()
    await segmentation.hear(cancelled(purchase))
    await segmentation.recompute()
    assert [(move.before, move.after) for move in await segmentation.said()] == [(None, "new"), ("new", None)]


async def test_a_purchase_dated_ahead_counts_when_its_time_has_come(segmentation: Segmentation) -> None:
    (anna,) = ids(1)
    await segmentation.hear(accrued(anna, at=NOW + timedelta(seconds=30)))
    await segmentation.recompute()
    assert await scores(segmentation) == {}
    segmentation.now = NOW + timedelta(seconds=30)
    await segmentation.recompute()
    assert await scores(segmentation) == {anna: Scores(5, 1, 1)}


async def test_a_new_window_is_in_force_at_the_next_recomputation(segmentation: Segmentation) -> None:
    anna, boris = ids(2)
    await segmentation.hear(accrued(anna, at=NOW - 40 * DAY), accrued(boris))
    await segmentation.recompute()
    assert set(await scores(segmentation)) == {anna, boris}
    async with segmentation.database.transaction() as tx:
        await set_window(tx, 30)
    await segmentation.recompute()
    assert set(await scores(segmentation)) == {boris}


async def test_moves_are_said_in_bounded_pieces(segmentation: Segmentation, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = []

    async def say_three(tx: Any) -> int:
        pieces.append(await say_moves(tx, most=3))
        return pieces[-1]

    monkeypatch.setattr(recompute, "say_moves", say_three)
    monkeypatch.setattr(recompute, "MOST_MOVES", 3)
    await segmentation.hear(*(accrued(who) for who in ids(8)))
    await segmentation.recompute()
    assert pieces == [0, 3, 3, 2]
    assert len(await segmentation.said()) == 8


async def test_moves_that_a_crash_left_unsaid_are_said_at_the_next_turn(segmentation: Segmentation) -> None:
    (anna,) = ids(1)
    await segmentation.hear(accrued(anna))
    async with segmentation.database.transaction() as tx:
        assert await score_everybody(tx)
    assert await segmentation.said() == []
    await segmentation.recompute()
    assert [move.customer_id for move in await segmentation.said()] == [anna]


async def test_two_instances_that_recompute_at_once_say_each_move_once(open_segmentation: OpenSegmentation) -> None:
    one, other = open_segmentation(), open_segmentation()
    people = ids(300)
    for turn in range(5):
        await one.hear(*(accrued(who, 1 + n % 7, at=NOW - (n % 11) * DAY) for n, who in enumerate(people[turn::3])))
        await asyncio.gather(*(instance.recompute() for instance in (one, other, one, other)))
    await one.recompute()
    assert_a_chain(await one.said(), await one.rows("SELECT customer_id, segment FROM rfm"))


async def test_two_transactions_that_say_moves_at_once_say_each_once(open_segmentation: OpenSegmentation) -> None:
    """Without the job's lock: the rows' own locks are enough."""
    one, other = open_segmentation(), open_segmentation()
    await one.hear(*(accrued(who) for who in ids(50)))
    async with one.database.transaction() as tx:
        await score_everybody(tx)
    async with one.database.transaction() as tx:
        assert await say_moves(tx) == 50
        waiting = asyncio.create_task(_say(other))
        await one.until_blocked(waiting)
    assert await waiting == 0
    assert_a_chain(await one.said(), await one.rows("SELECT customer_id, segment FROM rfm"))


async def _say(segmentation: Segmentation) -> int:
    async with segmentation.database.transaction() as tx:
        return await say_moves(tx)


async def test_purchases_heard_while_scores_are_computed_are_not_lost(open_segmentation: OpenSegmentation) -> None:
    one, other = open_segmentation(), open_segmentation()
    people = ids(100)
    events = [accrued(who, 100 * n, at=NOW - n * DAY) for n in range(1, 13) for who in people]
    random.Random(1).shuffle(events)
    heard = asyncio.Event()

    async def keep_recomputing() -> int:
        turns = 0
        while not heard.is_set():
            await other.recompute()
            turns += 1
        return turns

    recomputing = asyncio.create_task(keep_recomputing())
    for batch in batches(events, 20):
        await one.hear(*batch)
    heard.set()
    assert await recomputing > 3
    await other.recompute()
    assert await scores(one) == score(standings(list(events), 365), NOW)
    assert_a_chain(await one.said(), await one.rows("SELECT customer_id, segment FROM rfm"))


async def test_a_purchase_does_not_wait_for_a_recomputation_of_the_same_customer(
    open_segmentation: OpenSegmentation,
) -> None:
    one, other = open_segmentation(), open_segmentation()
    (anna,) = ids(1)
    await one.hear(accrued(anna))
    async with other.database.transaction() as tx:
        assert await score_everybody(tx)
        await asyncio.wait_for(one.hear(accrued(anna)), 20)


async def test_scoring_stays_linear_with_statistics_of_when_there_was_one_customer(segmentation: Segmentation) -> None:
    await segmentation.hear(*(accrued(who) for who in ids(1) for _ in range(500)))
    async with segmentation.database.transaction() as tx:
        await tx.sql("ALTER TABLE purchases SET (autovacuum_enabled = off)")
        await tx.sql("ANALYZE purchases")
        await tx.sql(MANY_FEATURES, 30_000)
        await tx.sql(MANY_PURCHASES, NOW)
    async with segmentation.database.transaction() as tx:
        await tx.sql("SET LOCAL statement_timeout = '20s'")
        assert await score_everybody(tx)
    async with segmentation.database.transaction() as tx:
        await tx.sql("ALTER TABLE purchases RESET (autovacuum_enabled)")


MANY_FEATURES = (
    "INSERT INTO features SELECT gen_random_uuid(), 1, 0, 0, now(), now(), now() FROM generate_series(1, $1)"
)
MANY_PURCHASES = """
INSERT INTO purchases (customer_id, receipt_id, operation_id, store_id, completed_at, currency, total_minor)
SELECT customer_id, customer_id::text, customer_id, '367', $1::timestamptz - random() * interval '300 days', 'RUB', 100
FROM features WHERE purchases = 1
ON CONFLICT DO NOTHING
"""


def assert_a_chain(said: list[Any], rows: Any) -> None:
    """Each customer's moves begin at none, go on where the last one ended, and end where the customer is now."""
    at: dict[UUID, str | None] = {}
    for move in said:
        assert move.before == at.get(move.customer_id)
        assert move.before != move.after
        at[move.customer_id] = move.after
    assert at == {row["customer_id"]: row["segment"] for row in rows}
