"""A service's HTTP API around its router: health, metrics, OpenAPI, dead letters, what waits, problems, the edge."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import prometheus_client
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response

from chassis import dead_letter_api, waiting_api
from chassis.database import Database
from chassis.edge import Gate, RequestLine, WhoseKey, is_loopback
from chassis.exports import Turns
from chassis.languages import CHASSIS, LANGUAGES, translator
from chassis.problems import ProblemDocument, answer_with_problems
from chassis.request_transaction import TransactionRoute, Tx, service_router
from chassis.settings import Settings

__all__ = ["TransactionRoute", "Tx", "UnsafeAddress", "build_app", "listens_safely", "service_router"]

READINESS_TIMEOUT_S: Final = 5

Readiness = Callable[[], Awaitable[Sequence[str]]]
"""Why the process is not ready for work; nothing where it is."""


class UnsafeAddress(Exception):
    """The API would listen beyond this machine without asking anybody who they are."""


def listens_safely(settings: Settings) -> None:
    """Raise `UnsafeAddress` where the API would be open to the network without a token."""
    if settings.api_token is None and not is_loopback(settings.http_host):
        raise UnsafeAddress(
            f"KOPILKA_HTTP_HOST is {settings.http_host}, which other machines can reach, and there is no "
            "KOPILKA_API_TOKEN: set a token of 16 characters or more, or listen on 127.0.0.1"
        )


def build_app(
    service: str,
    router: APIRouter,
    database: Database,
    *,
    settings: Settings,
    readiness: Readiness,
    own_keys: Mapping[str, WhoseKey] | None = None,
    texts: Path | None = None,
) -> FastAPI:
    """The whole HTTP API of a service. `texts` is the folder whose catalogue has its texts: by default its router's.

    `own_keys`: prefixes of paths whose callers have keys of their own, see `Gate`.

    FastAPI's own telemetry stays off: its spans carry paths and queries, and those name people.
    """
    app = FastAPI(
        title=f"Kopilka {service}",
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        middleware=[
            Middleware(RequestLine, service=service),
            Middleware(Gate, service=service, token=settings.api_token, own_keys=own_keys),
        ],
    )
    app.state.database = database
    app.state.settings = settings
    app.state.turns = Turns(settings.database_pool_size)
    app.state.texts = texts or _folder_of(router)
    for language in LANGUAGES:
        translator(app.state.texts, language)
    answer_with_problems(app)
    app.include_router(router)
    app.include_router(dead_letter_api.router)
    app.include_router(waiting_api.router)
    app.include_router(_health(readiness))
    _document(app, with_token=settings.api_token is not None)
    return app


def _folder_of(router: APIRouter) -> Path:
    """The folder of the code that answers, where it has texts of its own."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            folder = Path(inspect.getfile(route.endpoint)).parent
            return folder if (folder / "locales").is_dir() else CHASSIS
    return CHASSIS


def _health(readiness: Readiness) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/livez")
    async def livez() -> Response:
        return PlainTextResponse("alive\n")

    @router.get("/readyz")
    async def readyz() -> Response:
        try:
            reasons = list(await asyncio.wait_for(readiness(), READINESS_TIMEOUT_S))
        except TimeoutError:
            reasons = [f"readiness: not known within {READINESS_TIMEOUT_S} s"]
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        encode, content_type = prometheus_client.exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(prometheus_client.REGISTRY), media_type=content_type)

    return router


def _document(app: FastAPI, *, with_token: bool) -> None:
    """Add to the OpenAPI document what FastAPI cannot see: the problem documents and the token."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            _, problems = models_json_schema(
                [(ProblemDocument, "serialization")], ref_template="#/components/schemas/{model}"
            )
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(problems["$defs"])
            if with_token:
                components.setdefault("securitySchemes", {})["token"] = {"type": "http", "scheme": "bearer"}
                document["security"] = [{"token": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
