"""A small service with an HTTP API, for the tests of the chassis: it keeps notes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated
from uuid import UUID

import httpx
import sqlalchemy as sa
import uvicorn
from fastapi import APIRouter, FastAPI, Query, Response
from pydantic import BaseModel, Field

from chassis.database import Database
from chassis.http import build_app
from chassis.ids import new_id
from chassis.problems import Problem
from chassis.request_transaction import Tx, service_router
from chassis.settings import Settings
from chassis.tables import service_metadata
from contracts.feedback import AppealOpened
from contracts.fields import CardNumber

metadata = service_metadata()
notes = sa.Table("notes", metadata, sa.Column("text", sa.Text, nullable=False))

HERE = "http://127.0.0.1"


class Line(BaseModel):
    total_minor: Annotated[int, Field(ge=0)]


class Note(BaseModel):
    text: Annotated[str, Field(max_length=100)]
    card_number: CardNumber | None = None
    lines: list[Line] = []


class NoteKept(BaseModel):
    id: UUID
    text: str


class Gates:
    """Holds requests where a test wants them held."""

    def __init__(self) -> None:
        self.at_work = asyncio.Event()
        self.go_on = asyncio.Event()


def notes_router(gates: Gates) -> APIRouter:
    router = service_router()

    async def keep(tx: Tx, text: str) -> NoteKept:
        await tx.execute(notes.insert().values(text=text))
        return NoteKept(id=new_id(), text=text)

    @router.get("/notes")
    async def list_notes(tx: Tx, word: Annotated[str | None, Query(max_length=20)] = None) -> list[str]:
        select = sa.select(notes.c.text)
        return list((await tx.execute(select.where(notes.c.text == word) if word else select)).scalars())

    @router.get("/notes/{text}")
    async def show_note(tx: Tx, text: str) -> NoteKept:
        raise Problem(404, "note_not_found", "No note of {store} says so.", field="text", store="store 367")

    @router.post("/notes", status_code=201)
    async def keep_note(tx: Tx, note: Note) -> NoteKept:
        return await keep(tx, note.text)

    @router.put("/notes")
    async def put_note(tx: Tx, note: Note) -> NoteKept:
        return await keep(tx, note.text)

    @router.delete("/notes/{text}", status_code=204)
    async def forget_note(tx: Tx, text: str) -> None:
        await tx.execute(notes.delete().where(notes.c.text == text))

    @router.post("/secrets", status_code=201)
    async def show_once(tx: Tx, note: Note, response: Response) -> NoteKept:
        response.headers["Cache-Control"] = "no-store"
        return await keep(tx, note.text)

    @router.post("/slow-notes")
    async def keep_slowly(tx: Tx, note: Note) -> NoteKept:
        kept = await keep(tx, note.text)
        gates.at_work.set()
        await gates.go_on.wait()
        return kept

    @router.post("/said")
    async def say_something(tx: Tx, note: Note) -> None:
        tx.say(AppealOpened(customer_id=new_id(), appeal_id=new_id(), opened_at=tx.now))

    @router.post("/refused")
    async def refuse_after_the_effect(tx: Tx, note: Note) -> None:
        await keep(tx, note.text)
        raise Problem(409, "note_refused", "This note cannot be kept.")

    @router.post("/turned-down")
    async def answer_no_after_the_effect(tx: Tx, note: Note) -> Response:
        await keep(tx, note.text)
        return Response("no", status_code=409)

    @router.post("/failing")
    async def fail_after_the_effect(tx: Tx, note: Note) -> None:
        await keep(tx, note.text)
        raise KeyError(note.text)

    @router.get("/writing")
    async def write_on_get(tx: Tx) -> None:
        await keep(tx, "written on GET")

    @router.post("/cut-off")
    async def lose_the_connection(tx: Tx, note: Note) -> NoteKept:
        kept = await keep(tx, note.text)
        if not gates.go_on.is_set():
            gates.go_on.set()
            await tx.sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return kept

    return router


async def always_ready() -> Sequence[str]:
    return []


def notes_app(database: Database, gates: Gates | None = None, settings: Settings | None = None) -> FastAPI:
    return build_app(
        database.service,
        notes_router(gates or Gates()),
        database,
        settings=settings or Settings(),
        readiness=always_ready,
    )


def calling(app: FastAPI, **headers: str) -> httpx.AsyncClient:
    """A client that calls the app in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE, headers=headers)


@contextlib.asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[int]:
    """The app behind a real server; yields its port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


async def until(condition: Callable[[], bool], *, timeout_s: float = 10) -> None:
    """Wait for something that tells nobody when it happens."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def notes_kept(database: Database) -> list[str]:
    async with database.reading() as tx:
        return list((await tx.execute(sa.select(notes.c.text))).scalars())
