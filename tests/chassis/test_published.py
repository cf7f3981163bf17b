"""An answer that says whether what the request said is on the bus; a DELETE stands for the relay."""

import asyncio
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from chassis import published
from chassis.database import Database
from chassis.http import build_app
from chassis.ids import new_id
from chassis.problems import Problem
from chassis.published import PublishedRoute
from chassis.request_transaction import Tx, service_router
from chassis.settings import Settings
from chassis.tables import outbox
from contracts.feedback import AppealOpened
from tests.chassis.conftest import OpenDatabase
from tests.chassis.http_world import HERE, always_ready, calling
from tests.harness import until

KEY = {"Idempotency-Key": "1"}
router = service_router(route_class=PublishedRoute)


@router.post("/said")
async def say_two_things(tx: Tx) -> None:
    for _ in range(2):
        tx.say(AppealOpened(customer_id=new_id(), appeal_id=new_id(), opened_at=tx.now))


@router.post("/silent")
async def say_nothing(tx: Tx) -> None:
    pass


@router.post("/refused")
async def refuse_after_saying(tx: Tx) -> None:
    await say_two_things(tx)
    raise Problem(409, "note_refused", "This note cannot be kept.")


@router.get("/words")
async def count_words(tx: Tx) -> int:
    return int((await tx.execute(sa.select(sa.func.count()).select_from(outbox))).scalar_one())


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database(database_pool_size=2)


def app_on(database: Database) -> FastAPI:
    return build_app(database.service, router, database, settings=Settings(), readiness=always_ready)


def patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(published, "PATIENCE_S", seconds)


async def words(database: Database) -> list[int]:
    async with database.reading() as tx:
        return list((await tx.execute(sa.select(outbox.c.id).order_by(outbox.c.id))).scalars())


async def publish(database: Database, *ids: int) -> None:
    async with database.transaction() as tx:
        await tx.execute(outbox.delete().where(outbox.c.id.in_(ids)))


async def until_said(database: Database, count: int) -> list[int]:
    async def said() -> bool:
        return len(await words(database)) == count

    await until(said, what=f"{count} words are in the outbox")
    return await words(database)


async def test_the_answer_leaves_when_all_that_was_said_is_published(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience(monkeypatch, 60)
    app = app_on(database)
    waiting_when_answered: list[list[int]] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                waiting_when_answered.append(await words(database))
            await send(message)

        await app(scope, receive, watch)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(watched), base_url=HERE) as client:
        asking = asyncio.create_task(client.post("/said", headers=KEY))
        first, last = await until_said(database, 2)
        await publish(database, first)
        async with database.transaction() as tx:
            tx.say(AppealOpened(customer_id=new_id(), appeal_id=new_id(), opened_at=tx.now))
        await publish(database, last)
        answer = await asyncio.wait_for(asking, 30)

    assert (answer.status_code, answer.json()) == (201, {"published": True})
    assert waiting_when_answered == [[last + 1]]


async def test_what_nobody_publishes_in_time_is_answered_with_202_and_stays(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience(monkeypatch, 0.1)
    async with calling(app_on(database)) as client:
        answer = await client.post("/said", headers={**KEY, "Accept-Language": "ru"})

    assert (answer.status_code, answer.json()["published"]) == (202, False)
    assert answer.json()["detail"].startswith("Запись сохранена")
    assert answer.headers["content-language"] == "ru"
    assert len(await words(database)) == 2


async def test_a_repetition_is_told_what_has_become_of_it_and_says_nothing_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience(monkeypatch, 0.1)
    async with calling(app_on(database)) as client:
        first = await client.post("/said", headers=KEY)
        second = await client.post("/said", headers=KEY)
        said = await words(database)
        await publish(database, *said)
        third = await client.post("/said", headers=KEY)

    assert len(said) == 2
    assert [each.status_code for each in (first, second, third)] == [202, 202, 201]
    assert ["Idempotency-Replayed" in each.headers for each in (first, second, third)] == [False, True, True]
    assert third.json() == {"published": True}
    assert await words(database) == []


async def test_those_who_wait_hold_no_connection(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    patience(monkeypatch, 60)
    async with calling(app_on(database)) as client, asyncio.timeout(20):
        asking = [client.post("/said", headers={"Idempotency-Key": str(number)}) for number in range(4)]
        answers = asyncio.gather(*asking)
        said = await until_said(database, 8)
        assert (await client.get("/words")).json() == 8
        await publish(database, *said)
        assert [each.status_code for each in await answers] == [201] * 4


@pytest.mark.parametrize(("path", "status"), [("/silent", 201), ("/refused", 409)])
async def test_who_says_nothing_waits_for_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    patience(monkeypatch, 60)
    async with calling(app_on(database)) as client, asyncio.timeout(10):
        answer = await client.post(path, headers=KEY)

    assert answer.status_code == status
    assert await words(database) == []


async def test_the_document_tells_of_both_answers(database: Database) -> None:
    responses: Any = app_on(database).openapi()["paths"]["/said"]["post"]["responses"]
    models = [responses[status]["content"]["application/json"]["schema"]["$ref"] for status in ("201", "202")]
    assert models == ["#/components/schemas/Published", "#/components/schemas/NotYetPublished"]
