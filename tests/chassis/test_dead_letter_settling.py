import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from chassis import dead_letter_settling
from chassis.database import Database
from chassis.dead_letters import Cap, DeadLetter, bury
from chassis.envelope import Raw, Unprocessable, unpack_headers
from chassis.tables import outbox
from tests.chassis.conftest import OpenDatabase

CAP = Cap(1000, timedelta(hours=1))
HEADERS = (("ce_id", b"\xff\x00"), ("ce_type", b"pos.purchase_completed.v1"), ("ce_type", b"twice"))


def raw(offset: int, value: bytes | None = b"\x00{not json") -> Raw:
    return Raw("pos.purchases", 3, offset, 1_700_000_000_000 + offset, b"2900000000018", value, HEADERS)


async def buried(database: Database, *raws: Raw, reason: str = "not_json") -> list[UUID]:
    """Ids in the order given; the copies for the dead-letter topic are taken off the outbox."""
    async with database.transaction() as tx:
        await bury(tx, [DeadLetter(each, Unprocessable(reason, "value: broken")) for each in raws], group="x", cap=CAP)
    await said(database)
    async with database.reading() as tx:
        letters = await dead_letter_settling.find(tx, reason=reason)
    return [letter.id for letter in sorted(letters, key=lambda letter: letter.offset)]


async def said(database: Database) -> Sequence[sa.Row[tuple[str, bytes, bytes, bytes]]]:
    """What waits in the outbox; it is emptied."""
    async with database.transaction() as tx:
        rows = await tx.execute(
            sa.select(outbox.c.topic, outbox.c.key, outbox.c.headers, outbox.c.value).order_by(outbox.c.id)
        )
        words = rows.all()
        await tx.execute(sa.delete(outbox))
    return words


async def test_a_replay_says_the_very_bytes_on_the_topic_that_they_came_from(open_database: OpenDatabase) -> None:
    database = await open_database()
    ids = await buried(database, raw(1), raw(2, None))
    async with database.transaction() as tx:
        assert await dead_letter_settling.replay(tx, ids) == ids
    first, second = await said(database)
    assert (first.topic, first.key, first.value) == ("pos.purchases", b"2900000000018", b"\x00{not json")
    assert unpack_headers(first.headers) == HEADERS
    assert second.value is None


async def test_a_dead_letter_is_settled_once(open_database: OpenDatabase) -> None:
    database = await open_database()
    ids = await buried(database, raw(1), raw(2))
    async with database.transaction() as tx:
        assert await dead_letter_settling.drop(tx, ids[:1]) == ids[:1]
    async with database.transaction() as tx:
        assert await dead_letter_settling.replay(tx, ids) == ids[1:]
    async with database.transaction() as tx:
        assert await dead_letter_settling.replay(tx, ids) == []
        assert await dead_letter_settling.drop(tx, ids) == []
    assert len(await said(database)) == 1


async def test_two_who_replay_at_once_say_it_once(open_database: OpenDatabase) -> None:
    database = await open_database()
    ids = await buried(database, *(raw(offset) for offset in range(20)))

    async def replay_all(in_order: list[UUID]) -> int:
        async with database.transaction() as tx:
            return len(await dead_letter_settling.replay(tx, in_order))

    counts = await asyncio.gather(replay_all(ids), replay_all(ids[::-1]), replay_all(ids))
    assert sum(counts) == 20
    assert len(await said(database)) == 20


async def test_a_replay_that_is_rolled_back_leaves_the_letter_kept(open_database: OpenDatabase) -> None:
    database = await open_database()
    ids = await buried(database, raw(1))
    try:
        async with database.transaction() as tx:
            await dead_letter_settling.replay(tx, ids)
            raise RuntimeError
    except RuntimeError:
        pass
    async with database.reading() as tx:
        assert await dead_letter_settling.count_kept(tx) == 1
    assert len(await said(database)) == 0


async def test_letters_are_found_by_reason_topic_and_state(open_database: OpenDatabase) -> None:
    database = await open_database()
    broken = await buried(database, raw(1), reason="not_json")
    unknown = await buried(database, raw(2), reason="unknown_version")
    async with database.transaction() as tx:
        await dead_letter_settling.drop(tx, broken)

    async def found(**asked: str | bool) -> list[UUID]:
        async with database.reading() as tx:
            return [letter.id for letter in await dead_letter_settling.find(tx, **asked)]  # type: ignore[arg-type]

    assert await found() == unknown
    assert await found(reason="not_json") == []
    assert await found(reason="not_json", settled=True) == broken
    assert await found(topic="customers.cards") == []
    assert await found(topic="pos.purchases") == unknown
