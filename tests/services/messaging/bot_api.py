"""A small real HTTP server that speaks `sendMessage` and answers as a test wants: wrongly, late, or not at all."""

import asyncio
import contextlib
import itertools
import json
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Answer:
    """`body` None: the message is taken. `after_s`, `after`: late. `cut_after`: the connection breaks after so many
    bytes."""

    status: int = 200
    body: Mapping[str, Any] | str | None = None
    after_s: float = 0
    after: asyncio.Event | None = None
    cut_after: int | None = None


OK = Answer()
LATE = Answer(after_s=0.5)
NEVER = Answer(after_s=3600)
CUT = Answer(cut_after=0)
CUT_IN_THE_ANSWER = Answer(cut_after=60)
BROKEN = Answer(500, {"ok": False, "error_code": 500, "description": "Internal Server Error"})
BAD_GATEWAY = Answer(502, "<html><h1>502 Bad Gateway</h1></html>")
BLOCKED = Answer(403, {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"})
DEACTIVATED = Answer(403, {"ok": False, "error_code": 403, "description": "Forbidden: user is deactivated"})
NO_CHAT = Answer(400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"})
EMPTY = Answer(400, {"ok": False, "error_code": 400, "description": "Bad Request: message text is empty"})
BAD_TOKEN = Answer(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})


def too_many(retry_after_s: int) -> Answer:
    description = f"Too Many Requests: retry after {retry_after_s}"
    parameters = {"retry_after": retry_after_s}
    return Answer(429, {"ok": False, "error_code": 429, "description": description, "parameters": parameters})


@dataclass(frozen=True)
class Request:
    at_s: float
    chat_id: int
    text: str
    buttons: Sequence[Sequence[Mapping[str, str]]]
    path: str


@dataclass
class BotApi:
    """`answers` of a chat are given one after the other, then `otherwise`."""

    port: int
    answers: dict[int, deque[Answer]] = field(default_factory=lambda: defaultdict(deque))
    otherwise: Answer = OK
    requests: list[Request] = field(default_factory=list)
    _message_ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers_to(self, chat_id: int, *answers: Answer) -> None:
        self.answers[chat_id].extend(answers)

    def texts_to(self, chat_id: int) -> list[str]:
        return [request.text for request in self.requests if request.chat_id == chat_id]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await _request(reader)
                self.requests.append(request)
                queue = self.answers[request.chat_id]
                answer = queue.popleft() if queue else self.otherwise
                await asyncio.sleep(answer.after_s)
                if answer.after is not None:
                    await answer.after.wait()
                if not await self._answer(answer, request, writer):
                    break
        writer.close()

    async def _answer(self, answer: Answer, request: Request, writer: asyncio.StreamWriter) -> bool:
        body = self._message(request) if answer.body is None else answer.body
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        head = f"HTTP/1.1 {answer.status} Answer\r\nContent-Length: {len(content)}\r\n\r\n"
        whole = head.encode() + content
        writer.write(whole[: answer.cut_after])
        if answer.cut_after is not None:
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.transport.abort() if answer.cut_after == 0 else writer.close()
            return False
        await writer.drain()
        return True

    def _message(self, request: Request) -> Mapping[str, Any]:
        chat = {"id": request.chat_id, "type": "private", "first_name": "Customer"}
        message = {"message_id": next(self._message_ids), "date": int(time.time()), "chat": chat, "text": request.text}
        return {"ok": True, "result": message}


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    given = dict(parse_qsl(body.decode(), keep_blank_values=True))
    buttons = json.loads(given["reply_markup"])["inline_keyboard"] if "reply_markup" in given else []
    return Request(time.monotonic(), int(given["chat_id"]), given["text"], buttons, first.split(" ")[1])


@contextlib.asynccontextmanager
async def bot_api(port: int = 0) -> AsyncIterator[BotApi]:
    """Serves until the end of the block; whoever still waits for an answer is cut off then."""
    api = BotApi(port)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        task.add_done_callback(serving.discard)
        try:
            await api.serve(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    api.port = server.sockets[0].getsockname()[1]
    try:
        yield api
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
