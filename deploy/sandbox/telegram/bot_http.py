"""The Bot API over HTTP: `/bot<token>/<method>`, GET or POST: https://core.telegram.org/bots/api#making-requests."""

import json
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from deploy.sandbox.telegram.bot_api import BotApi
from deploy.sandbox.telegram.parameters import Refusal, bad_request
from deploy.sandbox.telegram.people import Json


def bot_router(api: BotApi) -> APIRouter:
    """`/bot<token>/<method>`."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/bot{token}/{method}", methods=["GET", "POST"])
    async def call(token: str, method: str, request: Request) -> JSONResponse:
        try:
            result = await api.call(token, method, await _parameters(request))
        except Refusal as refusal:
            answer: Json = {"ok": False, "error_code": refusal.error_code, "description": refusal.description}
            if refusal.retry_after_s is not None:
                answer["parameters"] = {"retry_after": refusal.retry_after_s}
            return JSONResponse(answer, status_code=refusal.error_code)
        return JSONResponse({"ok": True, "result": result})

    return router


async def _parameters(request: Request) -> Json:
    """Query, and a body in any of the three forms that Telegram takes."""
    given: Json = dict(request.query_params)
    body = await request.body()
    kind = request.headers.get("content-type", "")
    if not body:
        return given
    if kind.startswith("application/json"):
        return given | _json_object(body)
    if kind.startswith("application/x-www-form-urlencoded"):
        return given | dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    if kind.startswith("multipart/form-data"):
        return given | _multipart(kind, body)
    raise bad_request("send application/json, application/x-www-form-urlencoded or multipart/form-data")


def _json_object(body: bytes) -> Json:
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise bad_request("can't parse JSON object")
    return given


def _multipart(kind: str, body: bytes) -> Json:
    """The fields of a multipart form: the MIME parser of the standard library reads them."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + body)
    fields = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode(errors="replace")
    return fields
