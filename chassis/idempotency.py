"""`Idempotency-Key`: a request that is sent again has its effect once, and gets the first answer again.

The answer is kept by the transaction that has the effect, so that both are there together or not at all.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from fastapi import Request
from starlette.responses import Response

from chassis.envelope import content_hash
from chassis.problems import RETRY_AFTER_S, Problem
from chassis.transaction import Row, Transaction

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
NO_STORE: Final = "no-store"
"""An answer with this Cache-Control (RFC 9111, section 5.2.2.5) is shown once: it is kept only that it was given."""
NEEDED: Final = frozenset({"POST"})
ALLOWED: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

LOCK_AND_LOOK = """
SELECT locked.is_mine, kept.request_hash, kept.status, kept.content_type, kept.body
FROM (SELECT pg_try_advisory_xact_lock($1) AS is_mine) AS locked
     LEFT JOIN idempotency_keys AS kept ON kept.key = $2 AND kept.route = $3
"""
KEEP = """
INSERT INTO idempotency_keys (key, route, request_hash, status, content_type, body, answered_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING key
"""
FORGET = """
WITH gone AS (
    DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency_keys WHERE answered_at < $1 LIMIT $2
    ))
    RETURNING 1
)
SELECT count(*) FROM gone
"""

OPENAPI_PARAMETER: Final = {
    "name": HEADER,
    "in": "header",
    "description": "Any 1 to 255 visible ASCII characters, such as a UUID; a new one for each new intent. "
    "The same key with the same body gets the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def key_of(request: Request) -> str | None:
    """The request's key, if it has one. Raises `Problem` 400 where it is needed and missing, or malformed."""
    keys = request.headers.getlist(HEADER)
    if not keys and request.method not in NEEDED:
        return None
    if not keys:
        raise Problem(
            400,
            "idempotency_key_missing",
            "This request needs the header Idempotency-Key: any text of your own, a new one for each new intent.",
            field=HEADER,
        )
    if len(keys) > 1 or not KEY.fullmatch(keys[0]):
        raise Problem(
            400,
            "idempotency_key_malformed",
            "The header Idempotency-Key is given once and has 1 to 255 visible ASCII characters.",
            field=HEADER,
        )
    return keys[0]


async def answer_once(tx: Transaction, request: Request, key: str, act: Callable[[], Awaitable[Response]]) -> Response:
    """What `act` answers, or what it answered the first time. Where it has no effect, it raises.

    A key belongs to the method and the path. Raises `Problem` 409 while another request with the key is at work, 409
    where the first answer was to be shown once, 422 where the key was used for something else, or by another caller.
    """
    route = f"{request.method} {request.scope['raw_path'].decode('ascii')}"
    request_hash = await _hash_of(request)
    kept = await _lock_and_look(tx, key, route)
    if kept is not None:
        return _first_answer(kept, request_hash)
    response = await act()
    content_type, body = response.headers.get("content-type", ""), response.body
    if response.headers.get("cache-control") == NO_STORE:
        content_type, body = NO_STORE, b""
    if not await tx.sql(KEEP, key, route, request_hash, response.status_code, content_type, body, tx.now):
        raise _in_progress()
    return response


async def forget(tx: Transaction, *, before: datetime, most: int = 1000) -> bool:
    """Forget answers given before that moment, a bounded number at a time; True where more may be left."""
    ((forgotten,),) = await tx.sql(FORGET, before, most)
    return bool(forgotten == most)


async def _lock_and_look(tx: Transaction, key: str, route: str) -> Row | None:
    """Be the only one at work with this key; gives the answer that is kept already.

    The lock goes with the transaction: a crash leaves nothing behind. One that is got just when its last holder
    committed may not see that one's answer; then keeping another one fails, and with it all that was done.
    """
    (found,) = await tx.sql(LOCK_AND_LOOK, content_hash(f"idempotency {route} {key}".encode()), key, route)
    if not found.is_mine:
        raise _in_progress()
    return None if found.request_hash is None else found


def _in_progress() -> Problem:
    return Problem(
        409,
        "request_in_progress",
        "A request with this Idempotency-Key is at work; send it again after {seconds} s for its answer.",
        field=HEADER,
        headers={"Retry-After": str(RETRY_AFTER_S)},
        seconds=RETRY_AFTER_S,
    )


def _first_answer(kept: Row, request_hash: bytes) -> Response:
    if kept.request_hash != request_hash:
        raise Problem(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request; take a new key for each new intent.",
            field=HEADER,
        )
    if kept.content_type == NO_STORE:
        raise Problem(
            409,
            "shown_once",
            "This was done, and its answer is shown only once; to have it done anew, take a new Idempotency-Key.",
            field=HEADER,
        )
    headers = {REPLAYED: "true"} | ({"Content-Type": kept.content_type} if kept.content_type else {})
    return Response(kept.body, status_code=kept.status, headers=headers)


async def _hash_of(request: Request) -> bytes:
    """Of what is asked, and of who asks, where callers have keys of their own."""
    asked = hashlib.blake2b(request.scope["query_string"], digest_size=32)
    asked.update(f"\0{getattr(request.state, 'caller', '')}".encode())
    asked.update(await request.body())
    return asked.digest()
