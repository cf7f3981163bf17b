import asyncio
import random
import string
from collections import Counter
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa

from chassis import idempotency
from chassis.database import Database
from chassis.edge import PATH_MAX_BYTES
from chassis.tables import idempotency_keys
from tests.chassis.conftest import OpenDatabase
from tests.chassis.http_world import Gates, calling, metadata, notes_app, notes_kept

NOTE = {"text": "milk"}
KEY = {"Idempotency-Key": "6f1c"}


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database(metadata)


def kind(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:kopilka:problem:")


async def test_the_same_request_again_gets_the_first_answer_byte_for_byte(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        first = await client.post("/notes", json=NOTE, headers=KEY)
        again = await client.post("/notes", json=NOTE, headers=KEY)

    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await notes_kept(database) == ["milk"]


async def test_the_key_with_another_body_is_refused(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        await client.post("/notes", json=NOTE, headers=KEY)
        other = await client.post("/notes", json={"text": "bread"}, headers=KEY)

    assert (other.status_code, kind(other)) == (422, "idempotency_key_reused")
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    assert await notes_kept(database) == ["milk"]


async def test_the_key_with_another_query_is_refused(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        await client.post("/notes?store=1", json=NOTE, headers=KEY)
        other = await client.post("/notes?store=2", json=NOTE, headers=KEY)

    assert (other.status_code, kind(other)) == (422, "idempotency_key_reused")


async def test_a_key_belongs_to_its_method_and_path(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        await client.post("/notes", json=NOTE, headers=KEY)
        put = await client.put("/notes", json=NOTE, headers=KEY)
        elsewhere = await client.post("/said", json=NOTE, headers=KEY)

    assert (put.status_code, elsewhere.status_code) == (200, 200)
    assert "Idempotency-Replayed" not in put.headers
    assert await notes_kept(database) == ["milk", "milk"]


async def test_a_post_without_a_key_is_told_which_header_it_needs(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        answer = await client.post("/notes", json=NOTE)

    assert (answer.status_code, kind(answer)) == (400, "idempotency_key_missing")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert await notes_kept(database) == []


@pytest.mark.parametrize("key", [b"", b" ", b"two words", "ключ".encode(), b"a" * 256])
async def test_a_malformed_key_is_refused(database: Database, key: bytes) -> None:
    async with calling(notes_app(database)) as client:
        answer = await client.post("/notes", json=NOTE, headers=[(b"Idempotency-Key", key)])

    assert (answer.status_code, kind(answer)) == (400, "idempotency_key_malformed")
    assert await notes_kept(database) == []


async def test_two_keys_at_once_are_refused(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        answer = await client.post("/notes", json=NOTE, headers=[("Idempotency-Key", "1"), ("Idempotency-Key", "2")])

    assert (answer.status_code, kind(answer)) == (400, "idempotency_key_malformed")


async def test_the_longest_key_and_path_can_be_kept(database: Database) -> None:
    hardly_compressible = string.ascii_letters + string.digits
    path = "/notes/" + "".join(random.Random(1).choices(hardly_compressible, k=PATH_MAX_BYTES - len("/notes/")))
    key = {"Idempotency-Key": "".join(random.Random(2).choices(hardly_compressible, k=255))}
    async with calling(notes_app(database)) as client:
        answer = await client.delete(path, headers=key)
        again = await client.delete(path, headers=key)
        longer = await client.delete(path + "a", headers=key)

    assert answer.status_code == 204
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (longer.status_code, kind(longer)) == (414, "path_too_long")


async def test_a_put_needs_no_key_and_honours_one(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        without = await client.put("/notes", json=NOTE)
        first = await client.put("/notes", json=NOTE, headers=KEY)
        again = await client.put("/notes", json=NOTE, headers=KEY)

    assert [each.status_code for each in (without, first, again)] == [200, 200, 200]
    assert again.content == first.content
    assert await notes_kept(database) == ["milk", "milk"]


async def test_an_answer_that_is_kept_meanwhile_undoes_what_the_second_one_has_done(database: Database) -> None:
    gates = Gates()
    kept_meanwhile = sa.insert(idempotency_keys).values(
        key=KEY["Idempotency-Key"],
        route="POST /slow-notes",
        request_hash=b"",
        status=200,
        content_type="",
        body=b"",
        answered_at=database.clock(),
    )
    async with calling(notes_app(database, gates)) as client:
        second = asyncio.create_task(client.post("/slow-notes", json=NOTE, headers=KEY))
        await asyncio.wait_for(gates.at_work.wait(), 10)
        async with database.transaction() as tx:
            await tx.execute(kept_meanwhile)
        gates.go_on.set()
        answer = await second

    assert (answer.status_code, kind(answer)) == (409, "request_in_progress")
    assert await notes_kept(database) == []


async def test_of_two_at_once_in_two_processes_one_is_done_and_the_other_is_told_to_wait(
    open_database: OpenDatabase,
) -> None:
    gates = Gates()
    here, there = await open_database(metadata), await open_database(metadata)
    async with calling(notes_app(here, gates)) as client, calling(notes_app(there, gates)) as other_client:
        first = asyncio.create_task(client.post("/slow-notes", json=NOTE, headers=KEY))
        await asyncio.wait_for(gates.at_work.wait(), 10)

        second = await asyncio.wait_for(other_client.post("/slow-notes", json=NOTE, headers=KEY), 10)
        assert (second.status_code, kind(second)) == (409, "request_in_progress")
        assert int(second.headers["Retry-After"]) >= 1

        gates.go_on.set()
        done = await first
        third = await other_client.post("/slow-notes", json=NOTE, headers=KEY)

    assert done.status_code == 200
    assert third.content == done.content
    assert await notes_kept(here) == ["milk"]


async def test_a_storm_of_the_same_request_has_one_effect(open_database: OpenDatabase) -> None:
    here, there = await open_database(metadata), await open_database(metadata)
    async with calling(notes_app(here)) as client, calling(notes_app(there)) as other_client:
        answers = await asyncio.gather(
            *(each.post("/notes", json=NOTE, headers=KEY) for _ in range(100) for each in (client, other_client))
        )

    counts = Counter(answer.status_code for answer in answers)
    assert counts.keys() <= {201, 409}
    assert counts[201] >= 1
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert await notes_kept(here) == ["milk"]


async def test_only_a_success_is_kept(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        refused = await client.post("/notes", json={"text": 5}, headers=KEY)
        mended = await client.post("/notes", json=NOTE, headers=KEY)

    assert (refused.status_code, mended.status_code) == (422, 201)
    assert await notes_kept(database) == ["milk"]


async def test_a_request_that_lost_its_connection_is_done_by_its_repetition_once(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        lost = await client.post("/cut-off", json=NOTE, headers=KEY)
        assert lost.status_code == 503
        assert int(lost.headers["Retry-After"]) >= 1
        assert await notes_kept(database) == []

        done = await client.post("/cut-off", json=NOTE, headers=KEY)
        again = await client.post("/cut-off", json=NOTE, headers=KEY)

    assert (done.status_code, again.content) == (200, done.content)
    assert await notes_kept(database) == ["milk"]


async def test_the_answer_is_there_exactly_when_the_effect_is(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        for number in range(20):
            await client.post(
                "/notes" if number % 2 else "/refused", json=NOTE, headers={"Idempotency-Key": str(number)}
            )

    async with database.reading() as tx:
        keys = (await tx.execute(sa.select(idempotency_keys.c.key).order_by(idempotency_keys.c.answered_at))).scalars()
    assert list(keys) == [str(number) for number in range(1, 20, 2)]
    assert len(await notes_kept(database)) == 10


async def test_an_answer_that_is_shown_once_is_not_kept(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        first = await client.post("/secrets", json=NOTE, headers=KEY)
        again = await client.post("/secrets", json=NOTE, headers=KEY)
        other = await client.post("/secrets", json={"text": "bread"}, headers=KEY)

    assert (first.status_code, first.json()["text"]) == (201, "milk")
    assert (again.status_code, kind(again)) == (409, "shown_once")
    assert (other.status_code, kind(other)) == (422, "idempotency_key_reused")
    assert await notes_kept(database) == ["milk"]
    async with database.reading() as tx:
        assert (await tx.execute(sa.select(idempotency_keys.c.body))).scalars().all() == [b""]


async def test_old_answers_are_forgotten_a_bounded_number_at_a_time(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        for number in range(5):
            await client.post("/notes", json=NOTE, headers={"Idempotency-Key": str(number)})

    async with database.transaction() as tx:
        assert await idempotency.forget(tx, before=tx.now - timedelta(hours=1)) is False
        assert await idempotency.forget(tx, before=tx.now + timedelta(hours=1), most=3) is True
        assert await idempotency.forget(tx, before=tx.now + timedelta(hours=1), most=3) is False
        assert (await tx.execute(sa.select(sa.func.count()).select_from(idempotency_keys))).scalar_one() == 0
