"""Records that are one person are one customer to whoever looks, until they are parted."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.pagination import PageAsked
from contracts.customers import CustomerErased, CustomersMerged, CustomersUnmerged
from contracts.loyalty import PointsReturned
from services.segmentation.members import members_as_csv, page_of_members
from services.segmentation.profile import Profile, profile_of
from tests.services.segmentation.world import DAY, NOW, Segmentation, accrued, came_back, ids

MINUTE = timedelta(minutes=1)


def merged(survivor: UUID, record: UUID, at: datetime = NOW) -> CustomersMerged:
    return CustomersMerged(customer_id=survivor, merged_id=record, merged_at=at)


def parted(survivor: UUID, record: UUID, at: datetime = NOW + MINUTE) -> CustomersUnmerged:
    return CustomersUnmerged(customer_id=survivor, merged_id=record, unmerged_at=at)


def said_of(survivor: UUID, returned: PointsReturned) -> PointsReturned:
    """As loyalty says it, once the account is the survivor's."""
    return returned.model_copy(update={"customer_id": survivor})


async def profile(segmentation: Segmentation, customer_id: UUID) -> Profile:
    async with segmentation.database.reading() as tx:
        return await profile_of(tx, customer_id)


async def facts(segmentation: Segmentation) -> list[dict[str, Any]]:
    return [dict(row) for row in await segmentation.rows("SELECT * FROM spending ORDER BY customer_id")]


async def segments(segmentation: Segmentation) -> dict[UUID, str | None]:
    await segmentation.recompute()
    rows = await segmentation.rows("SELECT customer_id, segment FROM rfm")
    return {row["customer_id"]: row["segment"] for row in rows}


async def test_the_purchases_of_all_records_are_the_survivors(segmentation: Segmentation) -> None:
    anna, other = ids(2)
    await segmentation.hear(
        accrued(anna, 10_000, at=NOW - 9 * DAY, categories={"TEA": 10_000}),
        accrued(other, 5_000, at=NOW - 20 * DAY, categories={"TEA": 4_000, "MILK": 1_000}),
    )
    await segmentation.hear(merged(anna, other))
    await segmentation.hear(accrued(other, 700, at=NOW - DAY, currency="KZT"))

    seen = await profile(segmentation, anna)

    assert (seen.purchases, seen.first_purchase_at, seen.last_purchase_at) == (3, NOW - 20 * DAY, NOW - DAY)
    assert [(each.currency, each.purchases, each.total_minor) for each in seen.spending] == [
        ("KZT", 1, 700),
        ("RUB", 2, 15_000),
    ]
    assert [(each.category, each.total_minor) for each in seen.categories] == [("TEA", 14_000), ("MILK", 1_000)]
    assert [(each.currency, each.purchases, each.total_minor) for each in seen.stores] == [
        ("RUB", 2, 15_000),
        ("KZT", 1, 700),
    ]
    assert (seen.window.purchases, seen.window.spent_minor) == (3, {"KZT": 700, "RUB": 15_000})


async def test_a_return_of_what_a_merged_record_bought_is_taken_off_that_purchase(segmentation: Segmentation) -> None:
    anna, other = ids(2)
    bought = accrued(other, 5_000, store="9")
    await segmentation.hear(accrued(anna, 10_000), bought)
    await segmentation.hear(merged(anna, other))

    await segmentation.hear(said_of(anna, came_back(bought)))

    seen = await profile(segmentation, anna)
    assert (seen.purchases, seen.returns) == (1, 1)
    assert [(each.store_id, each.purchases, each.total_minor) for each in seen.stores] == [
        ("367", 1, 10_000),
        ("9", 0, 0),
    ]
    assert {row["customer_id"]: row["returned_minor"] for row in await facts(segmentation)} == {anna: 0, other: 5_000}


async def test_merged_records_are_scored_as_one_customer_and_as_two_once_parted(segmentation: Segmentation) -> None:
    anna, other, *crowd = ids(6)
    await segmentation.hear(*(accrued(each, at=NOW - 30 * DAY) for each in (anna, other, *crowd)))
    await segmentation.hear(*(accrued(each, at=NOW - 2 * DAY) for each in (anna, other)))
    before = await segments(segmentation)

    await segmentation.hear(merged(anna, other))
    together = await segments(segmentation)
    assert (together[other], set(together)) == (None, set(before))
    (row,) = await segmentation.rows("SELECT sum(purchases) AS n, sum(customers) AS who FROM rfm_cells")
    assert (row["n"], row["who"]) == (8, 5)
    assert [move.after for move in await segmentation.said() if move.customer_id == other][-1] is None

    await segmentation.hear(parted(anna, other))
    assert await segments(segmentation) == before


async def test_who_never_bought_and_is_the_survivor_of_one_who_did_is_in_a_segment(segmentation: Segmentation) -> None:
    anna, other = ids(2)
    await segmentation.hear(accrued(other))
    await segmentation.hear(merged(anna, other))

    assert await segments(segmentation) == {anna: "new"}


async def test_members_of_a_segment_have_the_counts_of_all_their_records(segmentation: Segmentation) -> None:
    anna, other = ids(2)
    await segmentation.hear(accrued(anna, at=NOW - 9 * DAY), accrued(other, at=NOW - 20 * DAY), merged(anna, other))
    await segmentation.recompute()

    async with segmentation.database.reading() as tx:
        (member,) = (await page_of_members(tx, "new", PageAsked(10, None))).items
    lines = [line async for part in members_as_csv(segmentation.database, "new") for line in part.splitlines()]

    assert (member.customer_id, member.purchases, member.first_purchase_at) == (anna, 2, NOW - 20 * DAY)
    assert len(lines) == 2
    assert lines[1].startswith(str(anna))


@pytest.mark.parametrize("order", [1, -1])
async def test_the_later_word_of_a_merge_and_its_undoing_counts(segmentation: Segmentation, order: int) -> None:
    anna, other = ids(2)
    await segmentation.hear(accrued(anna), accrued(other))

    for word in [merged(anna, other), parted(anna, other)][::order]:
        await segmentation.hear(word)

    assert (await profile(segmentation, anna)).purchases == 1


async def test_a_record_that_is_merged_elsewhere_before_its_parting_is_heard_is_counted_once(
    segmentation: Segmentation,
) -> None:
    anna, boris, other = ids(3)
    await segmentation.hear(accrued(other), merged(anna, other), merged(boris, other, NOW + 2 * MINUTE))

    assert await segments(segmentation) == {boris: "new"}
    (row,) = await segmentation.rows("SELECT sum(purchases) AS n FROM rfm_cells")
    assert row["n"] == 1


async def test_a_return_that_is_heard_again_after_the_records_were_parted_changes_nothing(
    segmentation: Segmentation,
) -> None:
    anna, other = ids(2)
    bought = accrued(other, 5_000)
    back = said_of(anna, came_back(bought, 1_000))
    await segmentation.hear(bought)
    await segmentation.hear(merged(anna, other))
    await segmentation.hear(back)
    await segmentation.hear(parted(anna, other))
    before = await facts(segmentation)

    await segmentation.hear(back)

    assert await facts(segmentation) == before
    assert [(row["customer_id"], row["returned_minor"]) for row in before] == [(other, 1_000)]


async def test_nothing_is_left_of_a_merge_whose_people_are_erased(segmentation: Segmentation) -> None:
    anna, other = ids(2)
    await segmentation.hear(accrued(anna), accrued(other), merged(anna, other))

    await segmentation.hear(*(CustomerErased(customer_id=each, erased_at=NOW) for each in (other, anna)))
    await segmentation.hear(merged(anna, other, NOW + MINUTE))

    assert await segmentation.rows("SELECT * FROM merges") == []


async def test_what_a_member_of_a_family_buys_and_brings_back_is_theirs(segmentation: Segmentation) -> None:
    anna, boris = ids(2)
    bought = accrued(boris, 5_000, holder=anna)

    await segmentation.hear(accrued(anna, 10_000), bought)
    await segmentation.hear(came_back(bought, 1_000))

    assert [(row["customer_id"], row["paid_minor"], row["returned_minor"]) for row in await facts(segmentation)] == [
        (anna, 10_000, 0),
        (boris, 5_000, 1_000),
    ]
    assert set(await segments(segmentation)) == {anna, boris}


async def test_the_return_of_a_member_that_comes_before_its_purchase_is_taken_off_once(
    segmentation: Segmentation,
) -> None:
    anna, boris = ids(2)
    bought = accrued(boris, 5_000, holder=anna)
    back = came_back(bought)

    for event in (back, bought, back):
        await segmentation.hear(event)

    (row,) = await facts(segmentation)
    assert (row["customer_id"], row["purchases"], row["returned_minor"]) == (boris, 0, 5_000)


async def test_a_return_within_a_family_of_what_a_record_bought_before_it_was_merged_is_the_records(
    segmentation: Segmentation,
) -> None:
    anna, boris, other = ids(3)
    bought = accrued(other, 5_000)
    await segmentation.hear(bought, merged(boris, other))

    await segmentation.hear(came_back(bought, 1_000).model_copy(update={"customer_id": anna, "buyer_id": boris}))

    assert [(row["customer_id"], row["returned_minor"]) for row in await facts(segmentation)] == [(other, 1_000)]


async def test_a_return_of_what_was_counted_with_the_holder_is_taken_off_there(segmentation: Segmentation) -> None:
    anna, boris = ids(2)
    bought = accrued(anna, 5_000)
    await segmentation.hear(bought)

    await segmentation.hear(came_back(bought, 1_000).model_copy(update={"buyer_id": boris}))

    assert [(row["customer_id"], row["returned_minor"]) for row in await facts(segmentation)] == [(anna, 1_000)]
