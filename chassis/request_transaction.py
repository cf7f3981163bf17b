"""One request, one transaction: committed before the answer leaves, rolled back where the answer is a refusal."""

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from chassis import idempotency
from chassis.database import Database
from chassis.field_faults import Fault, field_name, nul_in
from chassis.problems import MEDIA_TYPE, Problem
from chassis.transaction import Transaction

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem document (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
}


class _Refused(Exception):
    """Takes an answer of 400 or more out of the transaction, which rolls back on the way."""

    def __init__(self, response: Response) -> None:
        self.response = response


class TransactionRoute(APIRoute):
    """Runs each request in one transaction, a GET in a read-only one.

    The body has arrived whole before a connection is taken, so that a slow caller holds none.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        methods = set(options.get("methods") or {"GET"})
        if methods & idempotency.ALLOWED:
            needed = bool(methods & idempotency.NEEDED)
            extra = dict(options.get("openapi_extra") or {})
            parameter = {**idempotency.OPENAPI_PARAMETER, "required": needed}
            options["openapi_extra"] = {**extra, "parameters": [*extra.get("parameters", []), parameter]}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def in_one_transaction(request: Request) -> Response:
            database: Database = request.app.state.database
            if request.method == "GET":
                async with database.reading() as tx:
                    request.state.tx = tx
                    return await handle(request)
            key = idempotency.key_of(request)
            _refuse_nul(await request.body())
            try:
                async with database.transaction() as tx:
                    request.state.tx = tx
                    kept = await self._act(tx, request, key, handle)
            except _Refused as refused:
                return refused.response
            except Problem as problem:
                await self.refused(request, problem)
                raise
            return await self.answered(request, kept)

        return in_one_transaction

    async def kept(self, tx: Transaction, response: Response) -> Response:  # noqa: ARG002
        """What is kept of the endpoint's answer for a repetition of the request; in the transaction."""
        return response

    async def refused(self, request: Request, problem: Problem) -> None:
        """What is to be known of a request that a problem has rolled back; after that, without a connection.

        What it raises is answered instead.
        """

    async def answered(self, request: Request, kept: Response) -> Response:  # noqa: ARG002
        """What is answered, the first time and at each repetition; after the commit, without a connection."""
        return kept

    async def _act(
        self,
        tx: Transaction,
        request: Request,
        key: str | None,
        handle: Callable[[Request], Coroutine[Any, Any, Response]],
    ) -> Response:
        async def act() -> Response:
            response = await handle(request)
            if response.status_code >= 400:
                raise _Refused(response)
            return await self.kept(tx, response)

        if key is None:
            return await act()
        return await idempotency.answer_once(tx, request, key, act)


def service_router(*, route_class: type[TransactionRoute] = TransactionRoute, **options: Any) -> APIRouter:
    """The router of a service's API: every request on it runs in one transaction, which the endpoint takes as `Tx`."""
    return APIRouter(route_class=route_class, responses=PROBLEM_RESPONSES, **options)


async def _transaction_of(request: Request) -> Transaction:
    tx: Transaction = request.state.tx
    return tx


Tx = Annotated[Transaction, Depends(_transaction_of)]
"""The request's transaction, as an endpoint's argument."""


def _refuse_nul(body: bytes) -> None:
    """PostgreSQL cannot keep U+0000 in text; the caller is told which field has it."""
    if b"\\u0000" not in body:
        return
    try:
        location = nul_in(json.loads(body))
    except (ValueError, RecursionError):
        return
    if location is not None:
        fault = Fault(field_name(("body", *location)), "has the character NUL (U+0000); leave it out")
        raise Problem(422, "nul_character", "Text must not have the character NUL (U+0000).", faults=[fault])
