"""Records that came too early: kept whole, handed back once, in the order they came, and none is forgotten."""

import asyncio

import pytest

from chassis import waiting
from chassis.database import Database
from chassis.envelope import Heard
from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.records import Record
from tests.chassis.conftest import OpenDatabase
from tests.chassis.purchase_records import cancelled, heard
from tests.harness import until, waiters

HOLD = "INSERT INTO place (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = place.name RETURNING known"
INTRODUCE = "INSERT INTO place (name, known) VALUES ($1, true) ON CONFLICT (name) DO UPDATE SET known = true"


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    database = await open_database()
    async with database.transaction() as tx:
        await tx.sql("CREATE TABLE place (name text PRIMARY KEY, known boolean NOT NULL DEFAULT false)")
    return database


async def keep(tx: Transaction, early: list[Heard], awaits: str) -> None:
    tx.hearing(early)
    await waiting.keep(tx, [each.record for each in early], awaits=[awaits] * len(early))


async def recall(database: Database, awaited: str) -> list[Record]:
    async with database.transaction() as tx:
        return await waiting.recall(tx, [awaited])


async def test_what_waited_comes_back_once_in_the_order_it_came(database: Database) -> None:
    early = [heard(cancelled(), offset=offset) for offset in range(20)]
    for some in (early[:7], early[7:]):
        async with database.transaction() as tx:
            await keep(tx, some, "card:1")
    assert await recall(database, "card:2") == []
    assert await recall(database, "card:1") == [each.record for each in early]
    assert await recall(database, "card:1") == []


async def test_a_recalled_record_is_heard_with_everything_it_came_with(database: Database) -> None:
    early = heard(cancelled(), event_id=new_id(), offset=42, source="/tills/9")
    async with database.transaction() as tx:
        await keep(tx, [early], "card:1")
    async with database.transaction() as tx:
        [record] = await waiting.recall(tx, ["card:1"])
        again = tx.heard(record)
    assert again.raw == early.raw
    assert (again.event_id, again.source, again.time) == (early.event_id, early.source, early.time)
    assert (again.content_hash, again.traceparent) == (early.content_hash, early.traceparent)


async def test_what_was_recalled_in_vain_waits_on(database: Database) -> None:
    early = heard(cancelled())
    async with database.transaction() as tx:
        await keep(tx, [early], "card:1")
    with pytest.raises(KeyError):
        async with database.transaction() as tx:
            await waiting.recall(tx, ["card:1"])
            raise KeyError
    assert await recall(database, "card:1") == [early.record]


async def test_two_that_recall_at_once_share_nothing(database: Database) -> None:
    early = [heard(cancelled(), offset=offset) for offset in range(10)]
    async with database.transaction() as tx:
        await keep(tx, early, "card:1")
    both = await asyncio.gather(recall(database, "card:1"), recall(database, "card:1"))
    assert sorted(map(len, both)) == [0, 10]


@pytest.mark.parametrize("first", ["keeps", "introduces"])
async def test_with_the_place_locked_no_wake_up_is_lost_whoever_comes_first(database: Database, first: str) -> None:
    early = heard(cancelled())
    first_is_in, first_may_go_on = asyncio.Event(), asyncio.Event()
    handled: list[Record] = []

    async def keeper() -> None:
        if first == "introduces":
            await first_is_in.wait()
        async with database.transaction() as tx:
            [known] = (await tx.sql(HOLD, "card:1"))[0]
            if first == "keeps":
                first_is_in.set()
                await first_may_go_on.wait()
            if known:
                handled.append(early.record)
            else:
                await keep(tx, [early], "card:1")

    async def introducer() -> None:
        if first == "keeps":
            await first_is_in.wait()
        async with database.transaction() as tx:
            await tx.sql(INTRODUCE, "card:1")
            if first == "introduces":
                first_is_in.set()
                await first_may_go_on.wait()
            handled.extend(await waiting.recall(tx, ["card:1"]))

    async with asyncio.TaskGroup() as both:
        both.create_task(keeper())
        both.create_task(introducer())
        await until(lambda: waiters(database), what="the second one waits for the place")
        first_may_go_on.set()
    assert handled == [early.record]
