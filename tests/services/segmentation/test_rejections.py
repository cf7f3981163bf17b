"""A purchase that was rejected in a review says nothing of its customer, in whatever order it is heard of."""

import asyncio
import random
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from chassis.ids import new_id
from contracts.customers import CustomersMerged
from contracts.limits import ReviewDecided
from contracts.loyalty import CategoryTotal, PointsAccrued
from services.segmentation.profile import profile_of
from tests.services.segmentation.test_features import SEEDS, SUMS, a_random_life, expected, kept
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


def rejected(purchase: PointsAccrued) -> ReviewDecided:
    return decided(purchase, "rejected", purchase.categories)


def decided(purchase: PointsAccrued, verdict: str, categories: list[CategoryTotal] | None) -> ReviewDecided:
    return ReviewDecided.model_validate(
        {
            "review_id": new_id(),
            "customer_id": purchase.bought_by,
            "limit": "till_day",
            "receipt_id": purchase.receipt_id,
            "verdict": verdict,
            "reason": "cashiers_own_card",
            "actor": "operator:anna",
            "rejected_categories": categories,
            "decided_at": NOW,
        }
    )


async def sums(segmentation: Segmentation) -> dict[str, list[dict[str, Any]]]:
    """Of whom and of what anything counts."""
    state = await kept(segmentation)
    return {name: counting(state[name]) for name in SUMS}


def counting(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    named = {"customer_id", "currency", "store_id", "category"}
    return [row for row in rows if any(row[name] for name in row.keys() - named)]


async def test_a_rejected_purchase_is_taken_out_of_everything(segmentation: Segmentation) -> None:
    (anna,) = ids(1)
    right = accrued(anna, 4_000, at=NOW - 9 * DAY, categories={"TEA": 4_000})
    wrong = accrued(anna, 10_000, at=NOW - DAY, store="9", categories={"TEA": 6_000, "MILK": 4_000})
    await segmentation.hear(right)
    before = await sums(segmentation)
    await segmentation.hear(wrong, came_back(wrong, 1_000, categories={"MILK": 1_000}))

    await segmentation.hear(rejected(wrong))

    assert await sums(segmentation) == before
    async with segmentation.database.reading() as tx:
        seen = await profile_of(tx, anna)
    assert (seen.window.purchases, seen.window.spent_minor) == (1, {"RUB": 4_000})


async def test_who_bought_nothing_but_what_was_rejected_is_in_no_segment(segmentation: Segmentation) -> None:
    anna, boris = ids(2)
    wrong = accrued(anna)
    await segmentation.hear(wrong, accrued(boris))
    await segmentation.recompute()

    await segmentation.hear(rejected(wrong))
    await segmentation.recompute()

    assert [(move.customer_id, move.after) for move in await segmentation.said()][-1] == (anna, None)


@pytest.mark.parametrize("undo", [came_back, cancelled])
@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_a_rejection_counts_once_in_any_order_and_takes_what_came_back_along(
    segmentation: Segmentation, undo: Any, order: tuple[int, ...]
) -> None:
    (anna,) = ids(1)
    wrong = accrued(anna, 10_000, categories={"TEA": 10_000})
    part = came_back(wrong, 1_000, categories={"TEA": 1_000})
    events = [wrong, part, rejected(wrong), undo(wrong)]

    for place in order:
        await segmentation.hear(events[place])
    await segmentation.hear(rejected(wrong), *events)

    assert await sums(segmentation) == {name: [] for name in SUMS}


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_any_life_adds_up_to_what_was_not_rejected(segmentation: Segmentation, seed: int) -> None:
    chance = random.Random(seed)
    life = a_random_life(seed)
    wrong = [event for event in life if isinstance(event, PointsAccrued) and chance.random() < 0.3]
    events = [*life, *map(rejected, wrong), *map(rejected, wrong[:3])]
    chance.shuffle(events)

    for batch in batches(events, chance.randint(1, 40)):
        await segmentation.hear(*batch)

    receipts = {event.receipt_id for event in wrong}
    right = expected([event for event in life if event.receipt_id not in receipts])
    assert await sums(segmentation) == {name: counting(right[name]) for name in SUMS}


async def test_what_a_member_of_a_family_bought_is_rejected_as_theirs(segmentation: Segmentation) -> None:
    anna, boris = ids(2)
    wrong = accrued(boris, 5_000, holder=anna)
    await segmentation.hear(rejected(wrong), accrued(anna, 7_000), wrong, came_back(wrong))

    assert [(row["customer_id"], row["paid_minor"]) for row in (await sums(segmentation))["spending"]] == [
        (anna, 7_000)
    ]


async def test_what_a_merged_record_had_bought_is_rejected_as_the_records(segmentation: Segmentation) -> None:
    anna, other = ids(2)
    wrong = accrued(other, 5_000)
    await segmentation.hear(wrong, CustomersMerged(customer_id=anna, merged_id=other, merged_at=NOW))

    await segmentation.hear(came_back(wrong, 1_000).model_copy(update={"customer_id": anna}))
    await segmentation.hear(rejected(wrong))
    await segmentation.hear(came_back(wrong, 1_000).model_copy(update={"customer_id": anna}))

    assert await sums(segmentation) == {name: [] for name in SUMS}


@pytest.mark.parametrize(("verdict", "categories"), [("approved", None), ("rejected", None)])
async def test_what_is_approved_and_what_is_decided_on_a_return_changes_nothing(
    segmentation: Segmentation, verdict: str, categories: None
) -> None:
    (anna,) = ids(1)
    bought = accrued(anna)
    await segmentation.hear(bought)
    before = await kept(segmentation)

    await segmentation.hear(decided(bought, verdict, categories))

    assert await kept(segmentation) == before


async def test_a_rejection_beside_the_purchase_and_its_return_on_other_instances_loses_nothing(
    open_segmentation: OpenSegmentation,
) -> None:
    one, other, third = (open_segmentation() for _ in range(3))
    people: list[UUID] = ids(3)
    bought = [accrued(people[number % 3], 1_000) for number in range(60)]

    async def hear_all(instance: Segmentation, records: list[Any]) -> None:
        for batch in batches(records, 5):
            await instance.hear(*batch)

    await asyncio.gather(
        hear_all(one, bought),
        hear_all(other, [rejected(each) for each in reversed(bought)]),
        hear_all(third, [came_back(each, 300) for each in bought]),
    )

    assert await sums(one) == {name: [] for name in SUMS}
