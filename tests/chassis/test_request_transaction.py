import asyncio
import json

import httpx
import pytest
import sqlalchemy as sa
from fastapi import Request
from starlette.types import Message, Receive, Scope, Send

from chassis.database import Database
from chassis.envelope import unpack_headers
from chassis.http import build_app
from chassis.problems import Problem
from chassis.request_transaction import TransactionRoute, Tx, service_router
from chassis.settings import Settings
from chassis.tables import outbox
from chassis.tracing import trace_id
from tests.chassis.conftest import OpenDatabase
from tests.chassis.http_world import HERE, always_ready, calling, listening, metadata, notes, notes_app, notes_kept

NOTE = {"text": "milk"}


@pytest.fixture
async def notes_database(open_database: OpenDatabase) -> Database:
    return await open_database(metadata)


async def test_what_a_request_did_is_committed_before_its_answer_leaves(notes_database: Database) -> None:
    app = notes_app(notes_database)
    kept_when_answered: list[list[str]] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept_when_answered.append(await notes_kept(notes_database))
            await send(message)

        await app(scope, receive, watch)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(watched), base_url=HERE) as client:
        answer = await client.post("/notes", json=NOTE, headers={"Idempotency-Key": "1"})

    assert answer.status_code == 201
    assert kept_when_answered == [["milk"]]


@pytest.mark.parametrize(("path", "status"), [("/refused", 409), ("/turned-down", 409), ("/failing", 500)])
async def test_a_refused_or_failed_request_changes_nothing(notes_database: Database, path: str, status: int) -> None:
    async with calling(notes_app(notes_database)) as client:
        answer = await client.post(path, json=NOTE, headers={"Idempotency-Key": "1"})

    assert answer.status_code == status
    assert await notes_kept(notes_database) == []


class Remembering(TransactionRoute):
    """Keeps that there was a refusal, and refuses the second one in another way."""

    async def refused(self, request: Request, problem: Problem) -> None:
        database: Database = request.app.state.database
        async with database.transaction() as tx:
            if (await tx.execute(sa.select(notes))).all():
                raise Problem(429, "too_many_notes", "Wait.")
            await tx.execute(notes.insert().values(text=problem.code))


async def test_what_is_to_be_known_of_a_refusal_is_written_apart_and_may_answer_instead(
    notes_database: Database,
) -> None:
    router = service_router(route_class=Remembering)

    @router.post("/refused")
    async def refuse_after_the_effect(tx: Tx) -> None:
        await tx.execute(notes.insert().values(text="rolled back"))
        raise Problem(409, "note_refused", "This note cannot be kept.")

    app = build_app("notes", router, notes_database, settings=Settings(), readiness=always_ready)
    async with calling(app) as client:
        answers = [await client.post("/refused", headers={"Idempotency-Key": "1"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [409, 429]
    assert await notes_kept(notes_database) == ["note_refused"]


async def test_a_get_cannot_write(notes_database: Database) -> None:
    async with calling(notes_app(notes_database)) as client:
        answer = await client.get("/writing")

    assert answer.status_code >= 500
    assert await notes_kept(notes_database) == []


async def test_what_a_request_says_goes_to_the_outbox_with_the_callers_trace(notes_database: Database) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    async with calling(notes_app(notes_database)) as client:
        await client.post("/said", json=NOTE, headers={"Idempotency-Key": "1", "traceparent": traceparent})

    async with notes_database.reading() as tx:
        (word,) = (await tx.execute(sa.select(outbox))).all()
    assert word.topic == "feedback.events"
    said_under = dict(unpack_headers(word.headers))["traceparent"] or b""
    assert trace_id(said_under.decode()) == trace_id(traceparent)


async def test_what_a_request_without_a_trace_says_has_a_trace_all_the_same(notes_database: Database) -> None:
    async with calling(notes_app(notes_database)) as client:
        await client.post("/said", json=NOTE, headers={"Idempotency-Key": "1"})

    async with notes_database.reading() as tx:
        (word,) = (await tx.execute(sa.select(outbox))).all()
    assert len(dict(unpack_headers(word.headers))["traceparent"] or b"") == 55


async def test_callers_whose_bodies_come_slowly_hold_no_connection(open_database: OpenDatabase) -> None:
    database = await open_database(metadata, database_pool_size=2)
    start = b"POST /notes HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: %d\r\n"
    body = json.dumps(NOTE).encode()
    async with listening(notes_app(database)) as port, asyncio.timeout(10):
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        for number, (_, writer) in enumerate(slow):
            writer.write(start % number + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n{" % len(body))
            await writer.drain()

        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{port}/notes")
        assert answer.status_code == 200

        for reader, writer in slow:
            writer.write(body[1:])
            assert b" 201 " in await reader.readline()
            writer.close()


async def test_text_with_nul_is_refused_with_its_field_named(notes_database: Database) -> None:
    async with calling(notes_app(notes_database)) as client:
        answer = await client.post("/notes", json={"text": "a\0b"}, headers={"Idempotency-Key": "1"})

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:kopilka:problem:nul_character"
    assert answer.json()["errors"] == [{"field": "text", "detail": "has the character NUL (U+0000); leave it out"}]


async def test_a_backslash_before_u0000_is_no_nul(notes_database: Database) -> None:
    async with calling(notes_app(notes_database)) as client:
        answer = await client.post("/notes", json={"text": "\\u0000"}, headers={"Idempotency-Key": "1"})

    assert answer.status_code == 201
