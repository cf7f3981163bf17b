"""The edge of the HTTP API (plain ASGI): trace, log line and metrics of each request; what is turned away at once."""

import contextlib
import hmac
import ipaddress
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

import structlog
from fastapi import Request
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.database import Database
from chassis.problems import Problem, problem_of, problem_of_status, problem_response
from chassis.tracebacks import without_messages
from chassis.tracing import current_traceparent, trace_id, traced
from chassis.transaction import Transaction

log = structlog.get_logger()

REQUEST_MAX_BYTES: Final = 1024 * 1024
PATH_MAX_BYTES: Final = 2048
"""Path and query each; a path is also part of an index entry (`idempotency_keys`), which has room for no more."""
OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/metrics"})
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
CLIENT_WENT_AWAY: Final = 499
UNAUTHORIZED: Final = 401

WhoseKey = Callable[[Transaction, str], Awaitable[object]]
"""Gives the one whose key it is (`scope["state"]["caller"]`); raises `Problem` 401 where it is nobody's. The key is
empty where the request has none."""

requests = Counter("kopilka_http_requests_total", "HTTP requests.", ["service", "method", "route", "status"])
request_s = Histogram("kopilka_http_request_seconds", "Time of an HTTP request.", ["service", "method", "route"])
keys_refused = Counter(
    "kopilka_http_keys_refused_total", "HTTP requests without a right key or token.", ["service", "prefix"]
)


def is_loopback(host: str) -> bool:
    """Whether this name or address, with or without brackets, is this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class RequestLine:
    """Binds the request's trace, logs one line, counts it, and answers what nobody foresaw with a problem.

    The line and the metrics have the route's template and no value of path or query: those name people.
    """

    def __init__(self, app: ASGIApp, service: str) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        started = time.perf_counter()
        with _trace(scope):
            try:
                await self.app(scope, receive, answer.send)
            except ClientDisconnect:
                pass
            except Exception as error:
                await self._answer_unforeseen(error, answer, Request(scope, receive))
            finally:
                self._note(scope, answer.status or CLIENT_WENT_AWAY, time.perf_counter() - started)

    async def _answer_unforeseen(self, error: Exception, answer: "_Answer", request: Request) -> None:
        problem = problem_of(error)
        if problem is not error:
            log.error("request_failed", code=problem.code, failure=without_messages(error))
        if answer.status is not None:
            raise error
        await problem_response(problem, request)(request.scope, request.receive, answer.send)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = getattr(scope.get("route"), "path", "unmatched")
        requests.labels(self.service, method, route, status).inc()
        request_s.labels(self.service, method, route).observe(seconds)
        write = log.debug if route in OPEN_PATHS else log.info
        write("http_request", method=method, route=route, status=status, seconds=round(seconds, 6))


class Gate:
    """Turns away, before anything is read or done, what no endpoint should see; cuts off bodies that are too large.

    `own_keys`: prefixes of paths whose callers each have a key of their own, and who says whose it is. There the
    service's token opens nothing, and the host's name does not matter: no web page has a key.
    """

    def __init__(
        self, app: ASGIApp, service: str, token: str | None, own_keys: Mapping[str, WhoseKey] | None = None
    ) -> None:
        self.app = app
        self.service = service
        self.token = token.encode() if token is not None else None
        self.own_keys = own_keys or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["path"] not in OPEN_PATHS:
            await self._admit(scope, headers)
        _refuse_odd_paths(scope)
        _refuse_announced_size(headers)
        await self.app(scope, _limited(receive), send)

    async def _admit(self, scope: Scope, headers: Headers) -> None:
        prefix = next((each for each in self.own_keys if scope["path"].startswith(each)), None)
        try:
            if prefix is None:
                self._admit_to_service(headers)
                return
            database: Database = scope["app"].state.database
            async with database.looking() as tx:
                scope.setdefault("state", {})["caller"] = await self.own_keys[prefix](tx, _bearer(headers))
        except Problem as problem:
            if problem.status == UNAUTHORIZED:
                keys_refused.labels(self.service, prefix or "/").inc()
            raise

    def _admit_to_service(self, headers: Headers) -> None:
        """With a token set, who names it; without one, who calls this machine by a name of its own.

        The latter keeps out a web page that makes its own host name point here (DNS rebinding).
        """
        if self.token is None:
            if not is_loopback(_host_name(headers.get("host", ""))):
                raise Problem(
                    421,
                    "misdirected_request",
                    "Without KOPILKA_API_TOKEN this service answers to 127.0.0.1 and localhost alone.",
                )
            return
        if not hmac.compare_digest(_bearer(headers).encode("latin-1"), self.token):
            raise Problem(
                UNAUTHORIZED,
                "unauthorized",
                "This request needs the header Authorization: Bearer, followed by the service's token.",
                headers={"WWW-Authenticate": "Bearer"},
            )


class _Answer:
    """Sends, and remembers the status once it is on its way."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


@contextlib.contextmanager
def _trace(scope: Scope) -> Iterator[None]:
    """The trace that the caller named, or a new one: what this request says carries it on."""
    named = Headers(scope=scope).get("traceparent", "")
    with contextlib.ExitStack() as stack:
        stack.enter_context(traced(f"http {scope['method']}", named if TRACEPARENT.fullmatch(named) else None))
        if current_traceparent() is None:
            stack.enter_context(
                traced(f"http {scope['method']}", f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-00")
            )
        stack.enter_context(structlog.contextvars.bound_contextvars(trace_id=trace_id(current_traceparent())))
        yield


def _bearer(headers: Headers) -> str:
    """The key or token that the request names; empty where it names none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else ""


def _host_name(host: str) -> str:
    """`[::1]:8101` -> `[::1]`, `localhost:8101` -> `localhost`."""
    return re.sub(r":\d+$", "", host)


def _refuse_odd_paths(scope: Scope) -> None:
    path, query = scope["raw_path"], scope["query_string"]
    if len(path) > PATH_MAX_BYTES or len(query) > 2 * PATH_MAX_BYTES:
        raise problem_of_status(414)
    if b"%00" in path or b"%00" in query:
        raise Problem(400, "nul_character", "Text must not have the character NUL (U+0000).")


def _refuse_announced_size(headers: Headers) -> None:
    announced = headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > REQUEST_MAX_BYTES:
        raise problem_of_status(413)


def _limited(receive: Receive) -> Receive:
    """`receive` that raises once the body, however it is sent, is larger than the limit."""
    received = 0

    async def receive_within_limit() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > REQUEST_MAX_BYTES:
            raise HTTPException(413)
        return message

    return receive_within_limit
