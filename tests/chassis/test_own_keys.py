"""Paths whose callers have keys of their own, beside those that the service's token opens."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from prometheus_client import REGISTRY
from pydantic import BaseModel

from chassis.database import Database
from chassis.http import build_app
from chassis.problems import Problem
from chassis.request_transaction import Tx, service_router
from chassis.settings import Settings
from chassis.transaction import Transaction
from tests.chassis.conftest import OpenDatabase
from tests.chassis.http_world import always_ready, calling

TOKEN = "the-token-of-the-service"
KEY = "the-key-of-the-kiosk"
ONCE = {"Idempotency-Key": "1"}
AWAY = "kiosks.example.org"
router = service_router()


class Note(BaseModel):
    text: str


@router.post("/kiosk/notes")
async def keep_note(tx: Tx, request: Request, note: Note) -> str:
    return f"{request.state.caller}: {note.text}"


@router.get("/kiosks")
async def list_kiosks(tx: Tx) -> list[str]:
    return []


async def whose(tx: Transaction, key: str) -> object:
    ((name,),) = await tx.sql("SELECT 'kiosk 7'::text")
    if key != KEY:
        raise Problem(401, "unauthorized", "This request needs the kiosk's key.")
    return name


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database()


def app_on(database: Database, token: str | None = TOKEN) -> FastAPI:
    settings = Settings(api_token=token)
    return build_app(
        database.service, router, database, settings=settings, readiness=always_ready, own_keys={"/kiosk/": whose}
    )


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def keep(client: httpx.AsyncClient, key: str, **headers: str) -> httpx.Response:
    return await client.post("/kiosk/notes", json={"text": "milk"}, headers={**ONCE, **bearer(key), **headers})


@pytest.mark.parametrize("token", [TOKEN, None])
async def test_a_key_of_its_own_opens_from_anywhere_and_names_the_caller(database: Database, token: str | None) -> None:
    async with calling(app_on(database, token)) as client:
        answer = await keep(client, KEY, Host=AWAY)

    assert (answer.status_code, answer.json()) == (200, "kiosk 7: milk")


async def test_each_key_opens_its_own_paths_alone(database: Database) -> None:
    async with calling(app_on(database)) as client:
        token_at_the_kiosk = await keep(client, TOKEN)
        key_elsewhere = await client.get("/kiosks", headers=bearer(KEY))
        token_elsewhere = await client.get("/kiosks", headers=bearer(TOKEN))

    assert [each.status_code for each in (token_at_the_kiosk, key_elsewhere, token_elsewhere)] == [401, 401, 200]


async def test_without_a_token_the_other_paths_answer_this_machine_alone(database: Database) -> None:
    async with calling(app_on(database, None)) as client:
        answers = [await client.get(path, headers={"Host": AWAY}) for path in ("/kiosks", "/kiosk", "/dead-letters")]

    assert [answer.status_code for answer in answers] == [421] * 3


@pytest.mark.parametrize("path", ["/kiosk/notes", "/kiosk/nowhere", "/kiosk/"])
async def test_without_the_key_nothing_is_read_under_the_prefix(database: Database, path: str) -> None:
    async with calling(app_on(database)) as client:
        answer = await client.post(path, content=b"{nonsense", headers={"Content-Type": "application/json"})

    assert answer.status_code == 401


async def test_a_kept_answer_is_not_for_who_has_no_key(database: Database) -> None:
    async with calling(app_on(database)) as client:
        first = await keep(client, KEY)
        stranger = await keep(client, "another-key")
        again = await keep(client, KEY)

    assert [each.status_code for each in (first, stranger, again)] == [200, 401, 200]
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_wrong_keys_and_tokens_are_counted(database: Database) -> None:
    def counted() -> list[float]:
        labels = [{"service": database.service, "prefix": prefix} for prefix in ("/", "/kiosk/")]
        return [REGISTRY.get_sample_value("kopilka_http_keys_refused_total", each) or 0.0 for each in labels]

    before = counted()
    async with calling(app_on(database)) as client:
        await keep(client, KEY)
        await keep(client, "")
        await keep(client, "wrong")
        await client.get("/kiosks")

    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 2]


async def test_the_document_asks_for_the_token_beside_what_paths_ask_for_themselves(database: Database) -> None:
    document: Any = app_on(database).openapi()
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
