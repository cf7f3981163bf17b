"""The inbox: an event changes something once, whoever hears it how often."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
import sqlalchemy as sa

from chassis import inbox
from chassis.database import Database
from chassis.envelope import Heard
from chassis.ids import new_id
from chassis.transaction import Transaction
from tests.chassis.conftest import OpenDatabase
from tests.chassis.purchase_records import cancelled, heard
from tests.harness import until, waiters


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database()


def reused(tx: Transaction) -> list[object]:
    return [each for each, why in tx.refused if why is inbox.REUSED]


async def test_an_event_is_fresh_once(database: Database) -> None:
    events = [heard(cancelled()) for _ in range(50)]
    random.Random(1).shuffle(events)
    async with database.transaction() as tx:
        assert await inbox.claim(tx, events[:30]) == events[:30]
    async with database.transaction() as tx:
        assert await inbox.claim(tx, events) == events[30:]


async def test_an_event_that_is_twice_in_one_batch_is_fresh_once(database: Database) -> None:
    first, second = heard(cancelled()), heard(cancelled())
    async with database.transaction() as tx:
        assert await inbox.claim(tx, [first, second, first]) == [first, second]
        assert tx.refused == []


async def test_what_was_rolled_back_is_fresh_again(database: Database) -> None:
    event = heard(cancelled())
    with pytest.raises(KeyError):
        async with database.transaction() as tx:
            await inbox.claim(tx, [event])
            raise KeyError
    async with database.transaction() as tx:
        assert await inbox.claim(tx, [event]) == [event]


async def test_two_sources_may_use_the_same_id(database: Database) -> None:
    event_id = new_id()
    events = [heard(cancelled(), event_id=event_id, source=source) for source in ("/tills/1", "/tills/2")]
    async with database.transaction() as tx:
        assert await inbox.claim(tx, events) == events


async def test_an_id_used_for_other_content_is_refused_and_the_first_stays_heard(database: Database) -> None:
    first = heard(cancelled())
    other = heard(cancelled(), event_id=first.event_id)
    async with database.transaction() as tx:
        await inbox.claim(tx, [first])
    async with database.transaction() as tx:
        assert await inbox.claim(tx, [other, first]) == []
        assert reused(tx) == [other]


async def test_in_one_batch_the_first_of_an_id_counts_however_many_there_are(database: Database) -> None:
    ids = [new_id() for _ in range(200)]
    random.Random(1).shuffle(ids)
    firsts = [heard(cancelled(), event_id=event_id) for event_id in ids]
    others = [heard(cancelled(), event_id=event_id) for event_id in ids]
    async with database.transaction() as tx:
        assert await inbox.claim(tx, firsts + others) == firsts
        assert reused(tx) == others
    async with database.transaction() as tx:
        assert await inbox.claim(tx, firsts) == []
        assert reused(tx) == []


async def test_two_workers_with_the_same_events_wait_for_each_other_and_do_not_deadlock(database: Database) -> None:
    """Both meet in the middle, at an id that a third one holds, and go on when it is given up."""
    events = [heard(cancelled()) for _ in range(100)]
    is_held, give_up = asyncio.Event(), asyncio.Event()

    async def hold_the_middle() -> None:
        with contextlib.suppress(KeyError):
            async with database.transaction() as tx:
                await inbox.claim(tx, [events[50]])
                is_held.set()
                await give_up.wait()
                raise KeyError

    async def claim(wanted: Sequence[Heard]) -> int:
        await is_held.wait()
        async with database.transaction() as tx:
            return len(await inbox.claim(tx, wanted))

    async def both_wait() -> bool:
        return await waiters(database) == 2

    async with asyncio.TaskGroup() as workers:
        workers.create_task(hold_the_middle())
        claims = [workers.create_task(claim(events)), workers.create_task(claim(events[::-1]))]
        await until(both_wait, what="both wait")
        give_up.set()
    assert sorted(each.result() for each in claims) == [0, 100]


async def test_a_released_event_is_fresh_again_and_no_other(database: Database) -> None:
    refused, kept = heard(cancelled()), heard(cancelled())
    async with database.transaction() as tx:
        await inbox.claim(tx, [refused, kept])
        await inbox.release(tx, [refused])
    async with database.transaction() as tx:
        assert await inbox.claim(tx, [refused, kept]) == [refused]


async def test_old_ids_are_forgotten_a_bounded_number_at_a_time(database: Database) -> None:
    old, young = [heard(cancelled()) for _ in range(5)], heard(cancelled())
    async with database.transaction() as tx:
        await inbox.claim(tx, old)
        await tx.execute(sa.text("UPDATE inbox SET heard_at = heard_at - interval '121 days'"))
        await inbox.claim(tx, [young])
        before = tx.now - timedelta(days=120)
        assert await inbox.forget(tx, before=before, most=3)
        assert not await inbox.forget(tx, before=before, most=3)
        assert await inbox.claim(tx, [*old, young]) == old
