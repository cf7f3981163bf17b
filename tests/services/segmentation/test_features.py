"""The features of a customer: what events add up to, in any order, however often they come."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from chassis.migrations import differences
from contracts.loyalty import PointsAccrued, PointsReturned
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
FEATURES = "SELECT purchases, returns, cancellations, first_purchase_at, last_purchase_at FROM features"
KEPT = {
    "features": "SELECT customer_id, purchases, returns, cancellations, first_purchase_at, last_purchase_at "
    "FROM features ORDER BY customer_id",
    "purchases": "SELECT customer_id, receipt_id, returned_minor, cancelled, counts FROM purchases ORDER BY 1, 2",
    "returns": "SELECT customer_id, return_id, cause, total_minor FROM returns ORDER BY 1, 2, 3",
    "spending": "SELECT * FROM spending ORDER BY customer_id, currency",
    "stores": "SELECT * FROM store_spending ORDER BY customer_id, currency, store_id",
    "categories": "SELECT * FROM category_spending ORDER BY customer_id, currency, category",
}
SUMS = ("features", "spending", "stores", "categories")


async def kept(segmentation: Segmentation) -> dict[str, list[dict[str, Any]]]:
    return {name: [dict(row) for row in await segmentation.rows(select)] for name, select in KEPT.items()}


async def test_the_migrated_database_is_what_the_tables_say(segmentation: Segmentation) -> None:
    assert await differences(segmentation.database.engine, "segmentation") == []


async def test_purchases_add_up_by_currency_store_and_category(segmentation: Segmentation) -> None:
    (anna,) = ids(1)
    await segmentation.hear(
        accrued(anna, 10_000, at=NOW - 3 * DAY, store="367", categories={"MILK": 4_000, "TEA": 6_000}),
        accrued(anna, 5_000, at=NOW - 9 * DAY, store="9", categories={"TEA": 5_000}),
        accrued(anna, 700, at=NOW - 2 * DAY, store="9", currency="KZT"),
    )
    assert await segmentation.one(FEATURES) == {
        "purchases": 3,
        "returns": 0,
        "cancellations": 0,
        "first_purchase_at": NOW - 9 * DAY,
        "last_purchase_at": NOW - 2 * DAY,
    }
    state = await kept(segmentation)
    assert state["spending"] == [
        {"customer_id": anna, "currency": "KZT", "purchases": 1, "paid_minor": 700, "returned_minor": 0},
        {"customer_id": anna, "currency": "RUB", "purchases": 2, "paid_minor": 15_000, "returned_minor": 0},
    ]
    assert [tuple(row.values())[1:] for row in state["stores"]] == [
        ("KZT", "9", 1, 700),
        ("RUB", "367", 1, 10_000),
        ("RUB", "9", 1, 5_000),
    ]
    assert [tuple(row.values())[2:] for row in state["categories"]] == [("MILK", 4_000), ("TEA", 11_000)]


async def test_a_partial_return_takes_back_exactly_what_was_given_back(segmentation: Segmentation) -> None:
    (anna,) = ids(1)
    purchase = accrued(anna, 10_000, store="367", categories={"MILK": 4_000, "TEA": 6_000})
    await segmentation.hear(purchase, came_back(purchase, 1_500, store="9", categories={"TEA": 1_500}))
    state = await kept(segmentation)
    assert (state["features"][0]["purchases"], state["features"][0]["returns"]) == (1, 1)
    assert [tuple(row.values())[1:] for row in state["spending"]] == [("RUB", 1, 10_000, 1_500)]
    assert [tuple(row.values())[1:] for row in state["stores"]] == [("RUB", "367", 1, 8_500)]
    assert [tuple(row.values())[2:] for row in state["categories"]] == [("MILK", 4_000), ("TEA", 4_500)]


@pytest.mark.parametrize("undo", [came_back, cancelled])
async def test_a_purchase_that_came_back_whole_or_was_cancelled_is_not_counted(
    segmentation: Segmentation, undo: Any
) -> None:
    (anna,) = ids(1)
    first, last = accrued(anna, at=NOW - 9 * DAY), accrued(anna, at=NOW - DAY)
    await segmentation.hear(first, last, undo(last))
    row = await segmentation.one(FEATURES)
    assert (row["purchases"], row["first_purchase_at"], row["last_purchase_at"]) == (1, NOW - 9 * DAY, NOW - 9 * DAY)
    await segmentation.hear(undo(first))
    row = await segmentation.one(FEATURES)
    assert (row["purchases"], row["first_purchase_at"], row["last_purchase_at"]) == (0, None, None)
    assert row["returns"] + row["cancellations"] == 2


async def test_a_purchase_that_came_back_in_parts_stops_counting_with_the_last_part(segmentation: Segmentation) -> None:
    (anna,) = ids(1)
    purchase = accrued(anna, 10_000)
    await segmentation.hear(purchase, came_back(purchase, 4_000), came_back(purchase, 5_999))
    assert (await segmentation.one(FEATURES))["purchases"] == 1
    await segmentation.hear(came_back(purchase, 1))
    assert (await segmentation.one(FEATURES))["purchases"] == 0


async def test_a_return_may_come_before_its_purchase(segmentation: Segmentation) -> None:
    anna, boris = ids(2)
    partly, wholly = accrued(anna, 10_000), accrued(boris, 10_000)
    await segmentation.hear(came_back(partly, 3_000), came_back(wholly))
    await segmentation.hear(partly, wholly)
    assert [row["purchases"] for row in (await kept(segmentation))["features"]] == [1, 0]
    assert [tuple(row.values())[1:] for row in (await kept(segmentation))["stores"]] == [
        ("RUB", "367", 1, 7_000),
        ("RUB", "367", 0, 0),
    ]


async def test_a_receipt_that_earned_on_two_accounts_is_one_purchase_and_its_return_one_return(
    segmentation: Segmentation,
) -> None:
    anna, card_account = ids(2)
    purchase = accrued(anna, 10_000, categories={"TEA": 10_000})
    second = accrued(anna, 10_000, receipt=purchase.receipt_id, categories={"TEA": 10_000})
    back = came_back(purchase, 2_000, categories={"TEA": 2_000})
    second_back = came_back(purchase, 2_000, return_id=back.return_id, categories={"TEA": 2_000})
    assert card_account != anna
    await segmentation.hear(purchase, second, back, second_back)
    state = await kept(segmentation)
    assert (state["features"][0]["purchases"], state["features"][0]["returns"]) == (1, 1)
    assert [tuple(row.values())[1:] for row in state["spending"]] == [("RUB", 1, 10_000, 2_000)]
    assert [tuple(row.values())[2:] for row in state["categories"]] == [("TEA", 8_000)]


def a_random_life(seed: int, customers: int = 12, purchases: int = 60) -> list[PointsAccrued | PointsReturned]:
    """Purchases, and for many of them returns in parts, whole, too much, or a cancellation; each after its purchase."""
    chance = random.Random(seed)
    people = ids(customers)
    events: list[PointsAccrued | PointsReturned] = []
    for _ in range(purchases):
        total = chance.choice([0, 1, chance.randint(2, 500)])
        purchase = accrued(
            chance.choice(people),
            total,
            at=NOW - chance.randint(0, 500) * DAY,
            store=chance.choice("ABC"),
            currency=chance.choice(["RUB", "KZT"]),
            categories={"TEA": total},
        )
        events.append(purchase)
        if chance.random() < 0.1:
            events.append(cancelled(purchase))
        while chance.random() < 0.3:
            part = chance.choice([total, chance.randint(0, total)])
            events.append(came_back(purchase, part, store=chance.choice("ABC"), categories={"TEA": part}))
    return events


def expected(events: Sequence[PointsAccrued | PointsReturned]) -> dict[str, list[dict[str, Any]]]:
    """What the events add up to, one after the other in plain sums."""
    bought = [event for event in events if isinstance(event, PointsAccrued)]
    back = [event for event in events if isinstance(event, PointsReturned)]
    returned = Counter[str]()
    for event in back:
        returned[event.receipt_id] += event.total_minor
    gone = {event.receipt_id for event in back if event.cause == "cancellation"}
    gone |= {each.receipt_id for each in bought if 0 < each.total_minor <= returned[each.receipt_id]}
    left = [each for each in bought if each.receipt_id not in gone]
    people = sorted({event.customer_id for event in events})
    moneys = sorted({(event.customer_id, event.currency) for event in events})
    stores = sorted({(each.customer_id, each.currency, each.store_id) for each in bought})
    return {
        "features": [
            {
                "customer_id": person,
                "purchases": sum(each.customer_id == person for each in left),
                "returns": sum(each.customer_id == person and each.cause == "return" for each in back),
                "cancellations": sum(each.customer_id == person and each.cause == "cancellation" for each in back),
                "first_purchase_at": min((e.completed_at for e in left if e.customer_id == person), default=None),
                "last_purchase_at": max((e.completed_at for e in left if e.customer_id == person), default=None),
            }
            for person in people
        ],
        "spending": [
            {
                "customer_id": person,
                "currency": currency,
                "purchases": sum((e.customer_id, e.currency) == (person, currency) for e in left),
                "paid_minor": sum(e.total_minor for e in bought if (e.customer_id, e.currency) == (person, currency)),
                "returned_minor": sum(e.total_minor for e in back if (e.customer_id, e.currency) == (person, currency)),
            }
            for person, currency in moneys
        ],
        "stores": [
            {
                "customer_id": person,
                "currency": currency,
                "store_id": store,
                "purchases": sum((e.customer_id, e.currency, e.store_id) == (person, currency, store) for e in left),
                "total_minor": sum(
                    e.total_minor - returned[e.receipt_id]
                    for e in bought
                    if (e.customer_id, e.currency, e.store_id) == (person, currency, store)
                ),
            }
            for person, currency, store in stores
        ],
        "categories": [
            {
                "customer_id": person,
                "currency": currency,
                "category": "TEA",
                "total_minor": sum(
                    e.total_minor if isinstance(e, PointsAccrued) else -e.total_minor
                    for e in events
                    if (e.customer_id, e.currency) == (person, currency)
                ),
            }
            for person, currency in moneys
        ],
    }


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_any_order_any_batches_and_any_number_of_replays_add_up_to_the_same(
    segmentation: Segmentation, seed: int
) -> None:
    chance = random.Random(seed)
    events = a_random_life(seed)
    shuffled = events + chance.sample(events, len(events) // 2)
    chance.shuffle(shuffled)
    for batch in batches(shuffled, chance.randint(1, 40)):
        await segmentation.hear(*batch)
    state = await kept(segmentation)
    assert {name: state[name] for name in SUMS} == expected(events)
    await segmentation.hear(*events)
    assert await kept(segmentation) == state


async def test_a_replay_of_the_whole_topic_under_new_event_ids_changes_nothing(segmentation: Segmentation) -> None:
    events = a_random_life(1)
    await segmentation.hear(*events)
    before = await kept(segmentation)
    for batch in batches(events, 7):
        await segmentation.hear(*batch)
    assert await kept(segmentation) == before


async def test_two_instances_that_hear_of_the_same_customers_at_once_lose_nothing(
    open_segmentation: OpenSegmentation,
) -> None:
    one, other = open_segmentation(), open_segmentation()
    events = a_random_life(2, customers=3, purchases=200)
    bought = [event for event in events if isinstance(event, PointsAccrued)]
    back = [event for event in events if isinstance(event, PointsReturned)]

    async def hear_all(instance: Segmentation, records: Sequence[PointsAccrued | PointsReturned]) -> None:
        for batch in batches(records, 5):
            await instance.hear(*batch)

    await asyncio.gather(hear_all(one, bought), hear_all(other, back))
    state = await kept(one)
    assert {name: state[name] for name in SUMS} == expected(events)
