"""Files against a real server and a real PostgreSQL: what is streamed, and what becomes of it when somebody leaves."""

import asyncio
import csv
import gc
import io
from collections.abc import AsyncIterator
from operator import attrgetter

import httpx
import openpyxl
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from chassis import exports
from chassis.database import Database
from chassis.exports import PIECE_ROWS, RESPONSES, Column, Export, Exporting
from chassis.field_faults import N_
from chassis.http import build_app
from chassis.request_transaction import service_router
from chassis.settings import Settings
from chassis.tables import service_metadata
from tests.chassis.conftest import OpenDatabase
from tests.chassis.http_world import always_ready, calling, listening
from tests.harness import DEADLINE_S

metadata = service_metadata()
visits = sa.Table(
    "visits",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("note", sa.Text),
)
COLUMNS = (
    Column(N_("Not found"), attrgetter("id")),
    Column(N_("At"), attrgetter("at")),
    Column(N_("Note"), attrgetter("note")),
)
MANY = 60_000
router = service_router()


@router.get("/visits.{format}", responses=RESPONSES)
async def export_visits(asked: Exporting) -> Export:
    return asked.of(sa.select(visits).order_by(visits.c.id), COLUMNS, "visits")


@router.get("/broken.{format}")
async def export_what_breaks(asked: Exporting) -> Export:
    broken = sa.select(visits.c.id, visits.c.at, (1 / (visits.c.id - 30_000)).label("note")).order_by(visits.c.id)
    return asked.of(broken, COLUMNS, "broken")


@router.get("/endless.{format}")
async def export_without_end(asked: Exporting) -> Export:
    number, now = sa.func.generate_series(1, 10**9).label("id"), sa.func.now().label("at")
    return asked.of(sa.select(number, now, sa.null().label("note")), COLUMNS, "endless")


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database(metadata, database_pool_size=2)


@pytest.fixture
def app(database: Database) -> FastAPI:
    settings = Settings(database_pool_size=2)
    return build_app("visits", router, database, settings=settings, readiness=always_ready)


@pytest.fixture
async def port(app: FastAPI) -> AsyncIterator[int]:
    async with listening(app) as port:
        yield port


async def visited(database: Database, count: int, note: str | None = "milk") -> None:
    async with database.transaction() as tx:
        await tx.sql(
            "INSERT INTO visits SELECT n, '2025-11-02T22:30Z'::timestamptz, $2 FROM generate_series(1, $1::int) AS n",
            count,
            note,
        )


def rows_of(answer: httpx.Response) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def cells_of(answer: httpx.Response) -> list[list[object]]:
    (sheet,) = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets
    return [[cell.value for cell in row] for row in sheet.iter_rows()]


async def until_nobody_reads(database: Database) -> None:
    """Until no connection of the service is in a transaction, and its pool has all of them back."""
    reading = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
    async with asyncio.timeout(DEADLINE_S):
        while database.engine.pool.checkedout():  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        async with database.engine.connect() as connection:
            assert (await connection.execute(sa.text(reading))).scalar_one() == 0


@pytest.mark.parametrize("language", ["ru", "en"])
async def test_the_head_is_in_the_callers_language(app: FastAPI, language: str) -> None:
    async with calling(app, **{"Accept-Language": language}) as client:
        answer = await client.get("/visits.csv")
        sheet = await client.get("/visits.xlsx")
    title = {"ru": "Не найдено", "en": "Not found"}[language]
    assert rows_of(answer) == cells_of(sheet) == [[title, "At", "Note"]]
    assert answer.headers["content-language"] == language


async def test_the_suffix_says_what_the_file_is(app: FastAPI) -> None:
    async with calling(app) as client:
        table, workbook, unknown = [await client.get(f"/visits.{suffix}") for suffix in ("csv", "xlsx", "pdf")]
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.headers["content-disposition"] == 'attachment; filename="visits.csv"'
    assert workbook.headers["content-type"] == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    assert workbook.headers["content-disposition"] == 'attachment; filename="visits.xlsx"'
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "format")


async def test_moments_are_told_by_the_clock_that_was_asked_for(database: Database, app: FastAPI) -> None:
    await visited(database, 1)
    async with calling(app) as client:
        utc = await client.get("/visits.csv")
        kamchatka = await client.get("/visits.csv?time_zone=Asia/Kamchatka&separator=semicolon")
        sheet = await client.get("/visits.xlsx?time_zone=Asia/Kamchatka")
        nowhere = await client.get("/visits.csv?time_zone=../../etc/passwd")
    assert rows_of(utc)[1][1] == "2025-11-02T22:30:00+00:00"
    assert rows_of(kamchatka)[1] == ["1;2025-11-03T10:30:00+12:00;milk"]
    assert str(cells_of(sheet)[1][1]) == "2025-11-03 10:30:00"
    assert (nowhere.status_code, nowhere.json()["errors"][0]["field"]) == (422, "time_zone")


async def test_every_row_is_there_once_and_in_order(database: Database, app: FastAPI) -> None:
    await visited(database, 2 * PIECE_ROWS + 1)
    async with calling(app) as client:
        table, workbook = await client.get("/visits.csv"), await client.get("/visits.xlsx")
    assert [int(row[0]) for row in rows_of(table)[1:]] == list(range(1, 2 * PIECE_ROWS + 2))
    assert [row[0] for row in cells_of(workbook)[1:]] == list(range(1, 2 * PIECE_ROWS + 2))


@pytest.mark.parametrize("format", ["csv", "xlsx"])
async def test_a_file_is_one_snapshot_whatever_is_done_while_it_is_read(
    database: Database, port: int, format: str
) -> None:
    await visited(database, MANY)
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"http://127.0.0.1:{port}/visits.{format}") as answer,
    ):
        pieces = answer.aiter_raw()
        read = [await anext(pieces)]
        async with database.transaction() as tx:
            await tx.sql("UPDATE visits SET note = 'sold' WHERE id = $1", MANY)
            await tx.sql("INSERT INTO visits VALUES ($1, now(), 'late')", MANY + 1)
        read += [piece async for piece in pieces]
    whole = httpx.Response(200, content=b"".join(read))
    last = rows_of(whole)[-1] if format == "csv" else cells_of(whole)[-1]
    assert (int(str(last[0])), last[2]) == (MANY, "milk")


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
async def test_the_connection_of_a_reader_who_goes_away_comes_back_and_nothing_is_left_open(
    database: Database, port: int, suffix: str
) -> None:
    url = f"http://127.0.0.1:{port}/endless.{suffix}"
    async with httpx.AsyncClient() as client, client.stream("GET", url) as answer:
        pieces = answer.aiter_raw()
        await anext(pieces)
        assert database.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
    await until_nobody_reads(database)
    gc.collect()


@pytest.mark.parametrize("limit", ["STALL_S", "LONGEST_S"])
async def test_a_reader_who_takes_nothing_is_given_up(
    database: Database, port: int, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(exports, limit, 0.2)
    url = f"http://127.0.0.1:{port}/endless.csv"
    async with httpx.AsyncClient() as client, client.stream("GET", url) as answer:
        pieces = answer.aiter_raw()
        await anext(pieces)
        await until_nobody_reads(database)
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in pieces:
                pass


async def test_a_slow_reader_is_not_taken_for_a_frozen_process(open_database: OpenDatabase) -> None:
    database = await open_database(metadata, transaction_idle_timeout_s=0.2)
    app = build_app("visits", router, database, settings=Settings(), readiness=always_ready)
    await visited(database, MANY, "milk" * 100)
    idle = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'idle in transaction' AND state_change < clock_timestamp() - interval '0.5 s'"
    )
    async with (
        listening(app) as port,
        httpx.AsyncClient() as client,
        client.stream("GET", f"http://127.0.0.1:{port}/visits.csv") as answer,
    ):
        pieces = answer.aiter_raw()
        read = [await anext(pieces)]
        async with asyncio.timeout(10):
            async with database.engine.connect() as watching:
                while (await watching.execute(sa.text(idle))).scalar_one() == 0:
                    await watching.rollback()
        read += [piece async for piece in pieces]
    assert len(rows_of(httpx.Response(200, content=b"".join(read)))) == MANY + 1


async def test_others_are_answered_while_a_file_is_read_and_only_so_many_files_are_made_at_a_time(
    database: Database, port: int
) -> None:
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as client:
        async with client.stream("GET", f"{url}/endless.csv") as answer:
            pieces = answer.aiter_raw()
            await anext(pieces)
            other = await client.get(f"{url}/dead-letters")
            second = await client.get(f"{url}/visits.csv")
        await until_nobody_reads(database)
        third = await client.get(f"{url}/visits.csv")
    assert (other.status_code, second.status_code, third.status_code) == (200, 429, 200)
    assert second.headers["retry-after"] == "10"
    assert second.json()["type"] == "urn:kopilka:problem:too_many_exports"


async def test_a_file_that_breaks_off_can_be_told_from_a_whole_one(database: Database, port: int) -> None:
    await visited(database, MANY)
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/broken.csv")
    await until_nobody_reads(database)


async def test_what_fails_before_the_first_byte_is_a_problem(database: Database, app: FastAPI) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(sa.text("DROP TABLE visits"))
    async with calling(app) as client:
        answer = await client.get("/visits.csv")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")


async def test_the_openapi_document_says_what_the_answer_is(app: FastAPI) -> None:
    operation = app.openapi()["paths"]["/visits.{format}"]["get"]
    assert "text/csv; charset=utf-8" in operation["responses"]["200"]["content"]
    assert [each["name"] for each in operation["parameters"]] == ["format", "time_zone", "separator"]
