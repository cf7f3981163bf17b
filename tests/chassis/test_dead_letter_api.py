import asyncio
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa

from chassis import dead_letter_api, dead_letters
from chassis.database import Database
from chassis.dead_letters import Cap, DeadLetter
from chassis.envelope import RECORD_MAX_BYTES, Headers, Raw, Unprocessable, unpack_headers
from chassis.ids import new_id
from chassis.tables import dead_letters as letters
from chassis.tables import outbox
from tests.chassis.conftest import OpenDatabase
from tests.chassis.http_world import calling, notes_app

HEADERS: Headers = (("ce_id", b"1"), ("ce_id", b"1 again"), ("odd", b"\xff\x00"))
keys = count()


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database()


@pytest.fixture
async def client(database: Database) -> Any:
    async with calling(notes_app(database)) as client:
        yield client


def raw(offset: int, topic: str = "pos.purchases", value: bytes | None = b"{}", key: bytes | None = b"29") -> Raw:
    return Raw(topic, 3, offset, 1_762_000_000_000, key, value, HEADERS)


async def bury(database: Database, *raws: Raw, reason: str = "invalid") -> list[UUID]:
    """Bury them, forget what was said of it, and give their ids in their order."""
    async with database.transaction() as tx:
        buried = [DeadLetter(each, Unprocessable(reason, "total_minor: must be 0 or more")) for each in raws]
        await dead_letters.bury(tx, buried, group="loyalty", cap=Cap(1000, timedelta(minutes=10)))
        await tx.write_outbox()
        await tx.execute(outbox.delete())
        rows = await tx.execute(sa.select(letters.c.id).order_by(letters.c.id.desc()).limit(len(raws)))
        return list(rows.scalars())[::-1]


async def said(database: Database) -> list[tuple[str, bytes | None, Headers, bytes | None]]:
    async with database.reading() as tx:
        rows = await tx.execute(sa.select(outbox).order_by(outbox.c.id))
        return [(row.topic, row.key, unpack_headers(row.headers), row.value) for row in rows]


async def post(client: httpx.AsyncClient, path: str) -> httpx.Response:
    return await client.post(path, headers={"Idempotency-Key": str(next(keys))})


def kind(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:kopilka:problem:")


async def test_the_list_has_the_newest_first_page_by_page_and_no_bytes(
    database: Database, client: httpx.AsyncClient
) -> None:
    ids = await bury(database, *(raw(offset, value=b"secret") for offset in range(5)))

    first = (await client.get("/dead-letters?limit=3")).json()
    second = (await client.get("/dead-letters", params={"limit": 3, "cursor": first["next"]})).json()

    assert [line["id"] for line in first["items"] + second["items"]] == [str(each) for each in ids[::-1]]
    assert second["next"] is None
    line = first["items"][0]
    assert line["died_at"].endswith("Z")
    assert {name: line[name] for name in line if name not in ("id", "died_at")} == {
        "topic": "pos.purchases",
        "partition": 3,
        "offset": 4,
        "reason": "invalid",
        "detail": "total_minor: must be 0 or more",
        "state": "kept",
        "settled_at": None,
        "value_bytes": 6,
    }


async def test_the_list_can_be_narrowed(database: Database, client: httpx.AsyncClient) -> None:
    purchase, dropped = await bury(database, raw(1), raw(2))
    (event,) = await bury(database, raw(3, topic="customers.events"))
    await post(client, f"/dead-letters/{dropped}/drop")

    async def found(**narrowed: str) -> set[str]:
        answer = await client.get("/dead-letters", params=narrowed)
        return {line["id"] for line in answer.json()["items"]}

    assert await found() == {str(purchase), str(dropped), str(event)}
    assert await found(state="dropped") == {str(dropped)}
    assert await found(topic="customers.events") == {str(event)}
    assert await found(topic="pos.purchases", state="kept") == {str(purchase)}
    assert (await client.get("/dead-letters?state=lost")).json()["errors"] == [
        {"field": "state", "detail": "must be one of: 'kept', 'replayed', 'dropped'"}
    ]


async def test_one_is_shown_with_all_of_its_bytes(database: Database, client: httpx.AsyncClient) -> None:
    text, odd, tombstone = await bury(
        database, raw(1, value="Анна".encode()), raw(2, value=b"\xff\xfe"), raw(3, value=None, key=None)
    )

    shown = (await client.get(f"/dead-letters/{text}")).json()
    assert shown["value"] == {"text": "Анна", "base64": None}
    assert shown["key"] == {"text": "29", "base64": None}
    assert shown["headers"] == [
        {"name": "ce_id", "text": "1", "base64": None},
        {"name": "ce_id", "text": "1 again", "base64": None},
        {"name": "odd", "text": None, "base64": "/wA="},
    ]
    assert shown["value_bytes"] == 8
    assert (await client.get(f"/dead-letters/{odd}")).json()["value"] == {"text": None, "base64": "//4="}
    empty = (await client.get(f"/dead-letters/{tombstone}")).json()
    assert (empty["key"], empty["value"], empty["value_bytes"]) == (None, None, 0)


async def test_a_replay_says_the_record_once_more_byte_for_byte_on_its_own_topic(
    database: Database, client: httpx.AsyncClient
) -> None:
    (letter,) = await bury(database, raw(7, value=b"\x00\xff"))

    answer = await post(client, f"/dead-letters/{letter}/replay")

    assert (answer.status_code, answer.content) == (204, b"")
    assert await said(database) == [("pos.purchases", b"29", HEADERS, b"\x00\xff")]
    shown = (await client.get(f"/dead-letters/{letter}")).json()
    assert shown["state"] == "replayed"
    assert shown["settled_at"] is not None


async def test_what_is_settled_cannot_be_settled_again(database: Database, client: httpx.AsyncClient) -> None:
    replayed, dropped = await bury(database, raw(1), raw(2))
    await post(client, f"/dead-letters/{replayed}/replay")
    await post(client, f"/dead-letters/{dropped}/drop")

    for letter in (replayed, dropped):
        for verb in ("replay", "drop"):
            answer = await post(client, f"/dead-letters/{letter}/{verb}")
            assert (answer.status_code, kind(answer)) == (409, "dead_letter_settled")
    assert len(await said(database)) == 1


async def test_one_that_no_topic_takes_uncompressed_can_be_dropped_and_not_replayed(
    database: Database, client: httpx.AsyncClient
) -> None:
    [_, large] = await bury(database, raw(1), raw(2, value=b"x" * (RECORD_MAX_BYTES + 1)))
    refused = await post(client, f"/dead-letters/{large}/replay")
    assert (refused.status_code, kind(refused)) == (409, "dead_letter_too_large")
    all_of_them = await post(client, "/dead-letters/replay-all?reason=invalid")
    assert all_of_them.json() == {"replayed": 1, "more": False}
    assert len(await said(database)) == 1
    assert (await post(client, f"/dead-letters/{large}/drop")).status_code == 204


async def test_a_dropped_one_is_not_said(database: Database, client: httpx.AsyncClient) -> None:
    (letter,) = await bury(database, raw(1))

    assert (await post(client, f"/dead-letters/{letter}/drop")).status_code == 204
    assert await said(database) == []


async def test_of_many_replays_of_one_at_once_one_wins(open_database: OpenDatabase) -> None:
    here, there = await open_database(), await open_database()
    (letter,) = await bury(here, raw(1))
    async with calling(notes_app(here)) as client, calling(notes_app(there)) as other:
        answers = await asyncio.gather(
            *(post(each, f"/dead-letters/{letter}/replay") for _ in range(8) for each in (client, other))
        )

    assert sorted(answer.status_code for answer in answers) == [204] + [409] * 15
    assert len(await said(here)) == 1


@pytest.mark.parametrize("verb", ["replay", "drop"])
async def test_an_unknown_one_is_not_found(client: httpx.AsyncClient, verb: str) -> None:
    assert kind(await post(client, f"/dead-letters/{new_id()}/{verb}")) == "dead_letter_not_found"
    assert kind(await client.get(f"/dead-letters/{new_id()}")) == "dead_letter_not_found"
    assert (await post(client, f"/dead-letters/1/{verb}")).json()["errors"] == [
        {"field": "id", "detail": "must be a UUID"}
    ]


async def test_all_of_a_reason_are_replayed_in_the_order_they_died_so_many_at_a_time(
    database: Database, client: httpx.AsyncClient
) -> None:
    await bury(database, *(raw(offset, value=b"%d" % offset) for offset in range(5)))
    await bury(database, raw(5, topic="customers.events", value=b"5"))
    await bury(database, raw(6, value=b"6"), reason="not_json")

    async def replay_all(query: str) -> Any:
        answer = await post(client, f"/dead-letters/replay-all?{query}")
        assert answer.status_code == 200
        return answer.json()

    assert await replay_all("reason=invalid&topic=pos.purchases&most=3") == {"replayed": 3, "more": True}
    assert await replay_all("reason=invalid&topic=pos.purchases&most=3") == {"replayed": 2, "more": False}
    assert await replay_all("reason=invalid") == {"replayed": 1, "more": False}
    assert await replay_all("reason=invalid") == {"replayed": 0, "more": False}
    assert [value for _, _, _, value in await said(database)] == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_a_replay_of_all_takes_no_more_bytes_than_fit_and_always_one(
    database: Database, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_api, "REPLAY_MAX_BYTES", 1000)
    await bury(
        database, raw(1, value=b"a" * 2000), raw(2, value=b"b" * 600), raw(3, value=b"c" * 400), raw(4, value=b"d")
    )

    replayed = [(await post(client, "/dead-letters/replay-all?reason=invalid")).json() for _ in range(3)]

    assert replayed == [
        {"replayed": 1, "more": True},
        {"replayed": 2, "more": True},
        {"replayed": 1, "more": False},
    ]


async def test_a_replay_needs_an_idempotency_key(database: Database, client: httpx.AsyncClient) -> None:
    (letter,) = await bury(database, raw(1))

    assert kind(await client.post(f"/dead-letters/{letter}/replay")) == "idempotency_key_missing"
    assert await said(database) == []
