import asyncio
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chassis import http
from chassis.database import Database
from chassis.http import UnsafeAddress, build_app, listens_safely
from chassis.languages import catalogue_path
from chassis.problems import ProblemDocument
from chassis.settings import Settings
from tests.chassis.conftest import OpenDatabase
from tests.chassis.http_world import Gates, always_ready, calling, metadata, notes_app, notes_router


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database(metadata)


async def test_it_is_alive_while_the_loop_answers_even_when_the_database_is_away() -> None:
    away = Database("nowhere", Settings(database="postgresql://nobody@127.0.0.1:1/postgres"))
    async with calling(notes_app(away)) as client:
        assert (await client.get("/livez")).status_code == 200
    await away.close()


@pytest.mark.parametrize(("reasons", "status"), [([], 200), (["database: does not answer", "worker: stalled"], 503)])
async def test_it_is_ready_when_nothing_speaks_against_it(database: Database, reasons: list[str], status: int) -> None:
    async def readiness() -> Sequence[str]:
        return reasons

    app = build_app("notes", notes_router(Gates()), database, settings=Settings(), readiness=readiness)
    async with calling(app) as client:
        answer = await client.get("/readyz")

    assert answer.status_code == status
    assert answer.json() == {"ready": not reasons, "reasons": reasons}


async def test_a_readiness_that_does_not_answer_is_a_reason_itself(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(http, "READINESS_TIMEOUT_S", 0.05)
    app = build_app("notes", notes_router(Gates()), database, settings=Settings(), readiness=never)
    async with calling(app) as client:
        answer = await client.get("/readyz")

    assert answer.status_code == 503
    assert len(answer.json()["reasons"]) == 1


async def test_metrics_are_prometheus_text(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        plain = await client.get("/metrics")
        open_metrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert plain.headers["content-type"].startswith("text/plain")
    assert "python_info" in plain.text
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")


async def test_openapi_knows_the_problems_the_key_and_the_token(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        document: dict[str, Any] = (await client.get("/openapi.json")).json()
        docs = await client.get("/docs")
    guarded = notes_app(database, settings=Settings(api_token="0123456789abcdef")).openapi()

    post, put, get = (document["paths"]["/notes"][method] for method in ("post", "put", "get"))
    assert document["info"]["title"] == f"Kopilka {database.service}"
    assert docs.status_code == 200
    for operation in (post, put, get, document["paths"]["/dead-letters"]["get"]):
        schema = operation["responses"]["default"]["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ProblemDocument"}
        assert "422" not in operation["responses"]
    assert _key_parameter(post)["required"] is True
    assert _key_parameter(put)["required"] is False
    assert [each["name"] for each in get["parameters"]] == ["word"]
    assert "/livez" not in document["paths"]
    assert "security" not in document
    assert guarded["security"] == [{"token": []}]


async def test_a_problem_is_what_the_openapi_document_says_it_is(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        document = (await client.get("/openapi.json")).json()
        problems = [(await client.post("/notes", json={})).json(), (await client.get("/nowhere")).json()]

    schema = {"$ref": "#/components/schemas/ProblemDocument", "components": document["components"]}
    for problem in problems:
        jsonschema.validate(problem, schema)
        ProblemDocument.model_validate(problem, extra="forbid")


async def test_a_service_speaks_its_own_texts_from_beside_its_router(database: Database, tmp_path: Path) -> None:
    package = tmp_path / "shop"
    catalogue = catalogue_path(package, "ru")
    catalogue.parent.mkdir(parents=True)
    catalogue.write_text('msgid "Shop closed"\nmsgstr "Магазин закрыт"\n', encoding="utf-8")
    (package / "api.py").write_text(SHOP, encoding="utf-8")
    router = runpy.run_path(str(package / "api.py"))["router"]

    app = build_app("shop", router, database, settings=Settings(), readiness=always_ready)
    async with calling(app, **{"Accept-Language": "ru"}) as client:
        closed = await client.get("/shop")
        nowhere = await client.get("/nowhere")

    assert (closed.json()["title"], nowhere.json()["title"]) == ("Магазин закрыт", "Не найдено")


SHOP = """
from chassis.http import service_router
from chassis.problems import Problem

router = service_router()

@router.get("/shop")
async def show_shop() -> None:
    raise Problem(409, "shop_closed", "Come tomorrow.")
"""


def _key_parameter(operation: dict[str, Any]) -> dict[str, Any]:
    (parameter,) = [each for each in operation["parameters"] if each["name"] == "Idempotency-Key"]
    assert parameter["in"] == "header"
    return dict(parameter)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost"])
def test_on_this_machine_alone_no_token_is_needed(host: str) -> None:
    listens_safely(Settings(http_host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.7", "kopilka.example"])
def test_the_network_is_not_listened_to_without_a_token(host: str) -> None:
    with pytest.raises(UnsafeAddress, match="KOPILKA_API_TOKEN"):
        listens_safely(Settings(http_host=host))
    listens_safely(Settings(http_host=host, api_token="0123456789abcdef"))
