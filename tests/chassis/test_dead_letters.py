"""Burying: once, with the reason and the original bytes, and not without a limit."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chassis import dead_letters
from chassis.database import Database
from chassis.dead_letters import Cap, CapReached, DeadLetter
from chassis.envelope import Headers, Unprocessable, unpack_headers
from contracts.topics import DEAD_LETTER_MAX_BYTES, TOPICS, dead_letter_topic
from tests.chassis.conftest import OpenDatabase
from tests.chassis.purchase_records import cancelled, raw_of

WHY = Unprocessable("invalid", "total_minor: die Summe stimmt nicht — проверьте")
AMPLE = Cap(100, timedelta(minutes=10))


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database()


def letters(count: int, *, first_offset: int = 0) -> list[DeadLetter]:
    return [DeadLetter(raw_of(cancelled(), offset=first_offset + number), WHY) for number in range(count)]


async def bury(database: Database, buried: list[DeadLetter], cap: Cap = AMPLE) -> None:
    async with database.transaction() as tx:
        await dead_letters.bury(tx, buried, group="loyalty", cap=cap)


async def on_the_way(database: Database) -> list[tuple[str, bytes | None, Headers, bytes | None]]:
    async with database.reading() as tx:
        rows = await tx.sql("SELECT topic, key, headers, value FROM outbox ORDER BY id")
    return [(row.topic, row.key, unpack_headers(row.headers), row.value) for row in rows]


async def test_a_dead_letter_goes_to_its_groups_topic_with_its_bytes_and_its_reason(database: Database) -> None:
    raw = raw_of(cancelled(), value=b"\0\xff{", key=b"\xfe", offset=17)
    raw = replace(
        raw, headers=(*raw.headers, ("binary", b"\xff\0"), ("nothing", None), ("twice", b"1"), ("twice", b"2"))
    )
    await bury(database, [DeadLetter(raw, WHY)])
    [(topic, key, headers, value)] = await on_the_way(database)
    assert (topic, key, value) == ("pos.purchases.loyalty.dlq", raw.key, raw.value)
    assert headers[: len(raw.headers)] == raw.headers
    assert dict(headers[len(raw.headers) :]) == {
        "dlq_reason": b"invalid",
        "dlq_detail": WHY.detail.encode(),
        "dlq_group": b"loyalty",
        "dlq_topic": b"pos.purchases",
        "dlq_partition": b"0",
        "dlq_offset": b"17",
    }


async def test_a_record_is_buried_once_however_often_it_comes(database: Database) -> None:
    buried = letters(3)
    await bury(database, buried[:2])
    await bury(database, buried)
    assert len(await on_the_way(database)) == 3


async def test_the_same_offset_of_a_topic_that_was_made_anew_is_another_record(database: Database) -> None:
    [letter] = letters(1)
    later = letter._replace(raw=replace(letter.raw, timestamp_ms=letter.raw.timestamp_ms + 1))
    await bury(database, [letter])
    await bury(database, [later])
    assert len(await on_the_way(database)) == 2


async def test_over_the_cap_it_stops_and_leaves_no_trace(database: Database) -> None:
    cap = Cap(5, timedelta(minutes=10))
    await bury(database, letters(5), cap)
    with pytest.raises(CapReached, match="6 dead letters within 0:10:00, at most 5"):
        await bury(database, letters(1, first_offset=5), cap)
    assert len(await on_the_way(database)) == 5


async def test_what_died_before_the_window_does_not_count(database: Database) -> None:
    cap = Cap(5, timedelta(minutes=10))
    await bury(database, letters(5), cap)
    async with database.transaction() as tx:
        await tx.sql("UPDATE dead_letters SET died_at = died_at - interval '11 minutes'")
    await bury(database, letters(5, first_offset=5), cap)
    assert len(await on_the_way(database)) == 10


async def test_at_the_cap_what_is_buried_already_comes_again_without_a_stop(database: Database) -> None:
    cap = Cap(5, timedelta(minutes=10))
    buried = letters(5)
    await bury(database, buried, cap)
    await bury(database, buried, Cap(3, timedelta(minutes=10)))
    assert len(await on_the_way(database)) == 5


async def test_old_dead_letters_are_forgotten_a_bounded_number_at_a_time(database: Database) -> None:
    await bury(database, letters(5))
    async with database.transaction() as tx:
        await tx.sql("UPDATE dead_letters SET died_at = died_at - interval '11 days'")
    await bury(database, letters(1, first_offset=5))
    async with database.transaction() as tx:
        assert await dead_letters.forget(tx, most=3)
        assert not await dead_letters.forget(tx, most=3)
        assert [row.at for row in await tx.sql('SELECT "offset" AS at FROM dead_letters')] == [5]


async def test_of_a_record_that_was_small_only_while_compressed_the_topic_gets_the_reason_alone(
    database: Database,
) -> None:
    raw = raw_of(cancelled(), value=b"x" * (DEAD_LETTER_MAX_BYTES + 1))
    await bury(database, [DeadLetter(raw, WHY)])
    [(_, key, headers, value)] = await on_the_way(database)
    assert (key, value) == (None, None)
    assert dict(headers)["dlq_reason"] == b"invalid"
    assert int(dict(headers)["dlq_bytes"] or 0) > DEAD_LETTER_MAX_BYTES
    async with database.reading() as tx:
        ((kept,),) = await tx.sql("SELECT value FROM dead_letters")
    assert kept == raw.value


def test_personal_data_is_kept_shorter_on_dead_letter_topics() -> None:
    for topic in TOPICS.values():
        dead = dead_letter_topic(topic.name, "loyalty")
        assert dead.personal == topic.personal
        assert dead.retention_ms is not None
        assert not topic.personal or dead.retention_ms <= 3 * 24 * 60 * 60 * 1000
