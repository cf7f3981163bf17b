import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY
from structlog.testing import LogCapture

from chassis import edge
from chassis.database import Database
from chassis.edge import REQUEST_MAX_BYTES
from chassis.settings import Settings
from tests.chassis.conftest import OpenDatabase
from tests.chassis.http_world import Gates, calling, listening, metadata, notes_app, notes_kept, until

TOKEN = "0123456789abcdef-тайна"
KEY = {"Idempotency-Key": "1"}
OPEN = ["/livez", "/readyz", "/metrics"]
LARGE = b'{"text": "' + b"a" * REQUEST_MAX_BYTES + b'"}'


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database(metadata)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The log lines of the edge."""
    capture = LogCapture()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[structlog.contextvars.merge_contextvars, capture],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    monkeypatch.setattr(edge, "log", logger)
    return capture.entries


def kind(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:kopilka:problem:")


def guarded(database: Database) -> FastAPI:
    return notes_app(database, settings=Settings(api_token=TOKEN))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer тайна",
    ],
)
async def test_without_the_token_nothing_is_done(database: Database, authorization: str | None) -> None:
    headers = [] if authorization is None else [(b"Authorization", authorization.encode())]
    async with calling(guarded(database)) as client:
        answers = [
            await client.post("/notes", json={"text": "milk"}, headers=[(b"Idempotency-Key", b"1"), *headers]),
            await client.get("/notes", headers=headers),
            await client.get("/dead-letters", headers=headers),
            await client.get("/openapi.json", headers=headers),
            await client.get("/docs", headers=headers),
            await client.get("/nowhere", headers=headers),
        ]

    assert {(answer.status_code, kind(answer)) for answer in answers} == {(401, "unauthorized")}
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    assert await notes_kept(database) == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_with_the_token_the_door_is_open(database: Database, scheme: str) -> None:
    async with calling(guarded(database)) as client:
        answer = await client.get("/notes", headers={b"Authorization": f"{scheme} {TOKEN}".encode()})

    assert answer.status_code == 200


@pytest.mark.parametrize("path", OPEN)
async def test_health_and_metrics_need_no_token(database: Database, path: str) -> None:
    async with calling(guarded(database)) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8101", "localhost:8101", "LOCALHOST", "[::1]:8101", "[::1]"])
async def test_without_a_token_this_machine_may_ask(database: Database, host: str) -> None:
    async with calling(notes_app(database), Host=host) as client:
        assert (await client.get("/notes")).status_code == 200


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:8101", "127.0.0.1.evil.example", "10.0.0.7:8101"])
async def test_without_a_token_a_web_page_that_points_its_name_here_is_turned_away(
    database: Database, host: str
) -> None:
    async with calling(notes_app(database), Host=host) as client:
        answer = await client.get("/notes")

    assert (answer.status_code, kind(answer)) == (421, "misdirected_request")


async def test_a_body_announced_too_large_is_refused_before_it_comes(database: Database) -> None:
    async with listening(notes_app(database)) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /notes HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: 1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % (REQUEST_MAX_BYTES + 1)
        )
        answer = await reader.readuntil(b"}")
        writer.close()

    assert b" 413 " in answer.splitlines()[0]
    assert b"application/problem+json" in answer


async def test_a_chunked_body_is_cut_off_at_the_limit(database: Database) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * REQUEST_MAX_BYTES:
            sent += 65_536
            yield b"a" * 65_536
            await asyncio.sleep(0)

    async with calling(notes_app(database)) as client:
        answer = await client.post("/notes", content=endless(), headers={**KEY, "Content-Type": "application/json"})

    assert (answer.status_code, kind(answer)) == (413, "too_large")
    assert sent <= REQUEST_MAX_BYTES + 65_536
    assert await notes_kept(database) == []


async def test_a_chunked_body_that_is_too_large_is_refused_over_the_wire(database: Database) -> None:
    async def large() -> AsyncIterator[bytes]:
        yield LARGE

    async with listening(notes_app(database)) as port, httpx.AsyncClient() as client:
        answer = await client.post(f"http://127.0.0.1:{port}/notes", content=large(), headers=KEY)

    assert (answer.status_code, kind(answer)) == (413, "too_large")


async def test_a_body_of_the_largest_size_is_read(database: Database) -> None:
    body = json.dumps({"text": ""}).encode()
    async with calling(notes_app(database), **{"Content-Type": "application/json"}) as client:
        answer = await client.post("/notes", content=body.ljust(REQUEST_MAX_BYTES), headers=KEY)

    assert answer.status_code == 201


@pytest.mark.parametrize("length", ["-1", "abc", "1" * 4000])
async def test_an_odd_content_length_breaks_nothing(database: Database, length: str) -> None:
    async with calling(notes_app(database)) as client:
        answer = await client.post("/notes", content=b"{}", headers={**KEY, "Content-Length": length})

    assert answer.status_code in (413, 415, 422)


@pytest.mark.parametrize("path", ["/notes/a%00b", "/notes?word=%00"])
async def test_nul_in_the_path_or_the_query_is_a_problem(database: Database, path: str) -> None:
    async with calling(notes_app(database)) as client:
        answer = await client.get(path)

    assert (answer.status_code, kind(answer)) == (400, "nul_character")


@pytest.mark.parametrize("path", ["/notes/" + "a" * 2048, "/notes?word=" + "a" * 4097])
async def test_a_path_or_query_beyond_measure_is_a_problem(database: Database, path: str) -> None:
    async with calling(notes_app(database)) as client:
        answer = await client.get(path)

    assert (answer.status_code, kind(answer)) == (414, "path_too_long")


async def test_a_request_is_one_line_with_its_template_and_no_value(database: Database, lines: list[Any]) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with calling(notes_app(database)) as client:
        await client.get("/notes/+79161234567?word=Anna", headers={"traceparent": traceparent})

    (line,) = lines
    assert line.pop("seconds") > 0
    assert line == {
        "event": "http_request",
        "log_level": "info",
        "method": "GET",
        "route": "/notes/{text}",
        "status": 404,
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }


@pytest.mark.parametrize(
    "traceparent",
    [
        "nonsense",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\u00e9",
    ],
)
async def test_a_malformed_trace_is_replaced(database: Database, lines: list[Any], traceparent: str) -> None:
    async with calling(notes_app(database)) as client:
        answer = await client.get("/notes/milk", headers={b"traceparent": traceparent.encode()})

    (line,) = lines
    assert len(line["trace_id"]) == 32
    assert line["trace_id"].lower() not in traceparent.lower()
    assert answer.json()["instance"] == f"urn:kopilka:trace:{line['trace_id']}"


async def test_an_unforeseen_failure_is_logged_with_its_place_and_without_its_message(
    database: Database, lines: list[Any]
) -> None:
    async with calling(notes_app(database)) as client:
        await client.post("/failing", json={"text": "+79161234567"}, headers=KEY)

    failure, line = lines
    assert (failure["event"], failure["log_level"], failure["code"]) == ("request_failed", "error", "internal_error")
    assert "KeyError" in failure["failure"]
    assert any("fail_after_the_effect" in frame for frame in failure["failure"])
    assert line["status"] == 500
    assert "9161234567" not in repr(lines)


async def test_a_failure_in_the_database_is_logged_with_its_code_and_without_values(
    open_database: OpenDatabase, lines: list[Any]
) -> None:
    database = await open_database(metadata)
    async with database.transaction() as tx:
        await tx.sql("ALTER TABLE notes ADD UNIQUE (text)")
    async with calling(notes_app(database)) as client:
        for number in range(2):
            await client.put("/notes", json={"text": "+79161234567"}, headers={"Idempotency-Key": str(number)})

    failure = next(line for line in lines if line["event"] == "request_failed")
    assert any("SQLSTATE 23505" in each for each in failure["failure"])
    assert "9161234567" not in repr(lines)


async def test_a_recorded_span_has_the_callers_trace_and_no_value(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with calling(notes_app(database)) as client:
        await client.get("/notes/milk?word=Anna", headers={"traceparent": traceparent})

    (span,) = spans.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert "Anna" not in span.to_json()
    assert "milk" not in span.to_json()


async def test_health_checks_are_logged_quietly(database: Database, lines: list[Any]) -> None:
    async with calling(notes_app(database)) as client:
        for path in OPEN:
            await client.get(path)

    assert {line["log_level"] for line in lines} == {"debug"}


async def test_requests_are_measured_by_template(database: Database) -> None:
    counts = [("GET", "/notes/{text}", 404), ("GET", "unmatched", 404), ("other", "/notes", 405)]

    def counted() -> list[float]:
        names = ("method", "route", "status")
        labels = [{"service": database.service, **dict(zip(names, map(str, each), strict=True))} for each in counts]
        return [REGISTRY.get_sample_value("kopilka_http_requests_total", each) or 0.0 for each in labels]

    before = counted()
    async with calling(notes_app(database)) as client:
        await client.get("/notes/milk")
        await client.get("/notes/bread")
        await client.get("/nowhere/milk")
        await client.request("BREW", "/notes")
        metrics = await client.get("/metrics")

    assert [now - then for now, then in zip(counted(), before, strict=True)] == [2, 1, 1]
    assert "kopilka_http_request_seconds_bucket" in metrics.text
    assert "bread" not in metrics.text


async def test_a_caller_who_goes_away_in_the_middle_is_no_failure(database: Database, lines: list[Any]) -> None:
    async with listening(notes_app(database)) as port, asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /notes HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: 1\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await until(lambda: bool(lines))

    assert [(line["event"], line["status"]) for line in lines] == [("http_request", 499)]


async def test_a_caller_who_goes_away_while_waiting_does_not_stop_the_work(
    database: Database, lines: list[Any]
) -> None:
    gates = Gates()
    async with listening(notes_app(database, gates)) as port, asyncio.timeout(10):
        client = httpx.AsyncClient()
        asking = asyncio.create_task(
            client.post(f"http://127.0.0.1:{port}/slow-notes", json={"text": "milk"}, headers=KEY)
        )
        await gates.at_work.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await client.aclose()
        gates.go_on.set()
        await until(lambda: bool(lines))

    assert await notes_kept(database) == ["milk"]
