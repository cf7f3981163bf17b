"""Many at once on the same accounts: nothing is spent twice, nothing is lost, and nobody waits for each other."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import httpx
import pytest

from chassis.actor import Actor
from chassis.jobs import Job, run_job
from chassis.problems import Problem
from chassis.settings import Settings
from chassis.transaction import Transaction
from contracts.customers import Card, CustomersMerged, CustomersUnmerged
from contracts.holds import HoldReleased
from contracts.loyalty import PointsAccrued, PointsRedeemed
from contracts.purchases import PurchaseCompleted
from contracts.records import Record
from services.loyalty import by_hand, families, merging, reserving
from services.loyalty.accounts import Introduction, introduce, lock_accounts, lock_holder_of
from services.loyalty.by_hand import Adjustment, Why
from services.loyalty.holds import release_timed_out
from services.loyalty.quotes import Basket
from tests.harness import until, waiters
from tests.off_the_bus import came
from tests.services.loyalty.world import NOW, Loyalty, adjust, came_back, card, post, purchase

T = TypeVar("T")
OLGA = Actor("operator", "olga")
WHY = Why(OLGA, "complaint", None)
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture
async def second(loyalty: Loyalty, migrated: Settings) -> AsyncIterator[Loyalty]:
    """Another instance of the service on the same database."""
    second = Loyalty(migrated)
    yield second
    await second.close()


async def rich(loyalty: Loyalty, api: httpx.AsyncClient, points: int) -> tuple[str, UUID]:
    number = card()
    customer_id = await loyalty.knows(number)
    await adjust(api, customer_id, points)
    return number, customer_id


async def quoted(loyalty: Loyalty, number: str, *totals_minor: int) -> PurchaseCompleted:
    asked = purchase(number, *totals_minor)
    async with loyalty.database.transaction() as tx:
        await reserving.quote(tx, Basket(asked.receipt_id, number, "367", "367-1", "RUB", asked.lines), number)
    return asked


async def hold(loyalty: Loyalty, bought: PurchaseCompleted, points: int) -> UUID | None:
    """The hold; None where there are too few points."""
    try:
        async with loyalty.database.transaction() as tx:
            return (await reserving.reserve(tx, bought.receipt_id, "367-1", points))[0].id
    except Problem as problem:
        assert problem.code == "not_enough_points"
        return None


async def figures(loyalty: Loyalty, customer_id: UUID) -> tuple[int, int]:
    (row,) = await loyalty.rows("SELECT balance, held FROM accounts WHERE customer_id = :id", id=customer_id)
    return row.balance, row.held


async def deadlocks(loyalty: Loyalty, *others: Loyalty) -> int:
    """A session tells the statistics when it ends, if not before."""
    for each in (loyalty, *others):
        await each.close()
    return int((await loyalty.rows(DEADLOCKS))[0].deadlocks)


async def test_a_hundred_holds_and_deductions_at_once_take_what_is_there_and_no_more(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number, customer_id = await rich(loyalty, api, 100)
    asked = [await quoted(loyalty, number, 10_000) for _ in range(50)]

    async def deduct() -> bool:
        answer = await post(api, f"/customers/{customer_id}/operations", points=-3)
        assert answer.status_code in (201, 409), answer.text
        return answer.status_code == 201

    done = await asyncio.gather(*(hold(loyalty, each, 3) for each in asked), *(deduct() for _ in range(50)))
    held, taken = (sum(map(bool, part)) for part in (done[:50], done[50:]))
    assert held + taken == 33
    assert await figures(loyalty, customer_id) == (100 - 3 * taken, 3 * held)
    assert await loyalty.differences() == []


async def test_two_tills_at_once_hold_the_same_points_once(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    for _ in range(10):
        number, customer_id = await rich(loyalty, api, 50)
        asked = [await quoted(loyalty, number, 100_000) for _ in range(2)]
        won = await asyncio.gather(*(hold(loyalty, each, 30) for each in asked))
        assert sorted(map(bool, won)) == [False, True]
        assert await figures(loyalty, customer_id) == (50, 30)
    assert await loyalty.differences() == []


async def test_a_capture_and_the_time_out_of_its_hold_at_once_take_the_points_once(
    loyalty: Loyalty, second: Loyalty, api: httpx.AsyncClient
) -> None:
    later = NOW + timedelta(hours=1)
    second.use_clock(lambda: later)
    for number_of_holds in range(1, 11):
        number, customer_id = await rich(loyalty, api, 60)
        bought = await quoted(loyalty, number, 20_000)
        complete = bought.model_copy(update={"hold_id": await hold(loyalty, bought, 60)})
        time_out = run_job(Job(release_timed_out, every=timedelta(days=1)), second.database)
        await asyncio.gather(*random.sample([loyalty.hear(complete), time_out], 2))
        assert await figures(loyalty, customer_id) == (60 - 60 + 7, 0)
        assert len(await loyalty.said(PointsRedeemed)) == number_of_holds
    states = await loyalty.rows("SELECT holds.state, purchases.state FROM holds JOIN purchases USING (receipt_id)")
    assert Counter(map(tuple, states)) == {("captured", "completed"): 10}
    released = [each.receipt_id for each in await loyalty.said(HoldReleased)]
    assert len(set(released)) == len(released)
    assert await loyalty.differences() == []


async def test_batches_and_people_on_the_same_accounts_in_any_order_never_deadlock(
    loyalty: Loyalty, second: Loyalty, api: httpx.AsyncClient
) -> None:
    people = [await rich(loyalty, api, 1_000) for _ in range(8)]
    before = await deadlocks(loyalty)
    chance = random.Random(7)
    bought: list[PurchaseCompleted] = []

    def batch() -> list[PurchaseCompleted]:
        made = [purchase(number, 20_000) for number, _ in chance.sample(people, 6)]
        bought.extend(made)
        return made

    for _ in range(15):
        (_, first), (_, other), (_, third) = chance.sample(people, 3)
        doing: list[Coroutine[Any, Any, Any]] = [hears(loyalty, *batch()), hears(second, *batch())]
        doing += [by_hand_at(loyalty, customer_id, points) for points in (3, -3) for _, customer_id in people]
        doing += [merge(loyalty, first, other), merge(second, other, first), family(second, third, first)]
        doing += [hears(second, came_back(each, {1: 5_000})) for each in bought[:-12][-3:]]
        chance.shuffle(doing)
        await asyncio.gather(*doing)

    given = sum(each.points for each in await loyalty.said(PointsAccrued))
    assert len(bought) == 15 * 12
    assert given == len(bought) * 10
    assert await loyalty.differences() == []
    assert set(await loyalty.refused()) <= {"survivor_merged", "survivor_is_member", "merged_before"}
    assert await deadlocks(loyalty, second) == before


async def insisting(do: Callable[[], Awaitable[T]]) -> T:
    """As the worker and tills do: whoever would have to wait out of order gives up at once and tries again."""
    while True:
        try:
            return await do()
        except asyncpg.LockNotAvailableError:
            pass


async def hears(loyalty: Loyalty, *records: Record) -> None:
    heard = [came(each, NOW) for each in records]
    await insisting(lambda: loyalty.hear(*heard))


async def transacts(loyalty: Loyalty, do: Callable[[Transaction], Awaitable[object]]) -> None:
    async def transact() -> None:
        async with loyalty.database.transaction() as tx:
            await do(tx)

    await insisting(transact)


async def by_hand_at(loyalty: Loyalty, customer_id: UUID, points: int) -> None:
    await transacts(loyalty, lambda tx: by_hand.adjust(tx, customer_id, Adjustment(points), WHY))


async def merge(loyalty: Loyalty, survivor: UUID, merged: UUID) -> None:
    """And parts them again."""
    at = NOW - timedelta(hours=1) + timedelta(seconds=next(_moments))
    await hears(loyalty, CustomersMerged(customer_id=survivor, merged_id=merged, merged_at=at))
    parted = at + timedelta(milliseconds=1)
    await hears(loyalty, CustomersUnmerged(customer_id=survivor, merged_id=merged, unmerged_at=parted))


async def family(loyalty: Loyalty, customer_id: UUID, holder_id: UUID) -> None:
    """They share accounts, and part again."""
    for change in (families.join, families.leave):
        try:
            await transacts(loyalty, lambda tx, change=change: change(tx, customer_id, holder_id, OLGA))  # type: ignore[misc]
        except Problem as problem:
            assert problem.code in ("in_a_family", "holder_in_a_family", "has_a_family", "not_a_member")


_moments = iter(range(10**6))


async def test_a_card_that_is_introduced_while_it_is_used_deadlocks_with_nobody(
    loyalty: Loyalty, second: Loyalty
) -> None:
    known = card()
    customer_id = await loyalty.knows(known)
    before = await deadlocks(loyalty)
    for _ in range(20):
        fresh = card()
        await loyalty.hear(purchase(fresh, 20_000))
        introduced = Card(card_number=fresh, customer_id=customer_id)
        await asyncio.gather(
            hears(loyalty, introduced), hears(second, purchase(known, 20_000), purchase(fresh, 20_000))
        )
    assert await loyalty.balance(customer_id) == 20 * 30
    assert await loyalty.differences() == []
    assert await deadlocks(loyalty, second) == before


async def test_a_merge_beside_one_of_its_survivor_is_refused_and_loses_no_points(
    loyalty: Loyalty, second: Loyalty, api: httpx.AsyncClient
) -> None:
    (number, other), (_, anna), (_, third) = [await rich(loyalty, api, 10) for _ in range(3)]
    async with loyalty.database.transaction() as tx:
        await merging.merge(tx, CustomersMerged(customer_id=third, merged_id=anna, merged_at=NOW))
        beside = asyncio.create_task(
            hears(second, CustomersMerged(customer_id=anna, merged_id=other, merged_at=NOW), purchase(number, 20_000))
        )
        await until_waiting(loyalty)
    await beside
    assert await loyalty.refused() == ["survivor_merged"]
    assert [await loyalty.balance(each) for each in (other, anna, third)] == [20, 0, 20]
    assert await loyalty.differences() == []


async def test_a_merge_beside_the_survivors_joining_a_family_brings_everything_to_the_family(
    loyalty: Loyalty, second: Loyalty, api: httpx.AsyncClient
) -> None:
    (number, other), (_, anna), (_, third) = [await rich(loyalty, api, 10) for _ in range(3)]
    async with loyalty.database.transaction() as tx:
        await families.join(tx, anna, third, OLGA)
        beside = asyncio.create_task(hears(second, CustomersMerged(customer_id=anna, merged_id=other, merged_at=NOW)))
        await until_waiting(loyalty)
    await beside
    assert [await loyalty.balance(each) for each in (other, anna, third)] == [0, 10, 20]
    await loyalty.hear(purchase(number, 20_000))
    assert await loyalty.balance(third) == 30
    assert await loyalty.differences() == []


async def test_an_account_that_is_merged_beside_stands_for_the_survivors_and_parted_for_itself(
    loyalty: Loyalty, second: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, other), (_, anna) = [await rich(loyalty, api, 10) for _ in range(2)]
    (row,) = await loyalty.rows("SELECT id FROM accounts WHERE customer_id = :id", id=other)

    async def locked() -> tuple[UUID, int]:
        async with second.database.transaction() as tx:
            account = (await lock_accounts(tx, [row.id]))[row.id]
            return account.customer_id, account.balance

    both = {"customer_id": anna, "merged_id": other}
    async with loyalty.database.transaction() as tx:
        await merging.merge(tx, CustomersMerged(**both, merged_at=NOW))
        beside = asyncio.create_task(locked())
        await until_waiting(loyalty)
    assert await beside == (anna, 20)
    async with loyalty.database.transaction() as tx:
        await merging.unmerge(tx, CustomersUnmerged(**both, unmerged_at=NOW + timedelta(hours=1)))
        beside = asyncio.create_task(locked())
        await until_waiting(loyalty)
    assert await beside == (other, 10)


async def test_who_joins_a_family_beside_opens_its_accounts(
    loyalty: Loyalty, second: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, other), (_, anna) = [await rich(loyalty, api, 10) for _ in range(2)]

    async def locked() -> UUID | None:
        async with second.database.transaction() as tx:
            holder = await lock_holder_of(tx, other)
            return holder.customer_id if holder else None

    async with loyalty.database.transaction() as tx:
        await families.join(tx, other, anna, OLGA)
        beside = asyncio.create_task(locked())
        await until_waiting(loyalty)
    assert await beside == anna


async def test_a_card_that_is_introduced_beside_a_merge_opens_the_survivors_account(
    loyalty: Loyalty, second: Loyalty, api: httpx.AsyncClient
) -> None:
    (_, other), (_, anna) = [await rich(loyalty, api, 10) for _ in range(2)]
    fresh = card()
    async with loyalty.database.transaction() as tx:
        await introduce(tx, [Introduction("card", fresh, other)])
        merged = CustomersMerged(customer_id=anna, merged_id=other, merged_at=NOW)
        beside = asyncio.create_task(hears(second, merged))
        await until_waiting(loyalty)
    await beside
    await loyalty.hear(purchase(fresh, 20_000))
    assert await loyalty.balance(anna) == 30


async def until_waiting(loyalty: Loyalty) -> None:
    async def somebody_waits() -> bool:
        return await waiters(loyalty.database) > 0

    await until(somebody_waits, what="somebody waits for a lock")
