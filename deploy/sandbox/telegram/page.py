"""The chat page: three files as they are, its words, and the stream of what happens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import orjson
from fastapi import APIRouter
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from contracts.fields import Language
from deploy.sandbox.telegram.people import Json
from deploy.sandbox.telegram.words import page_words

FOLDER: Final = Path(__file__).parent / "page"
SHOWN: Final = frozenset({"chat", "message", "toast", "action", "commands"})
WAITING_MAX: Final = 1000
KEEP_ALIVE_S: Final = 15
HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}


class Watchers:
    """Everybody who looks at the page. One who reads too slowly is told to load it anew."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[bytes | None]] = set()

    def tell(self, fact: Json) -> None:
        if not self._queues or fact["kind"] not in SHOWN:
            return
        line = b"data: " + orjson.dumps(fact) + b"\n\n"
        for queue in self._queues:
            if queue.qsize() < WAITING_MAX:
                queue.put_nowait(line)
            elif queue.qsize() == WAITING_MAX:
                queue.put_nowait(b'data: {"kind": "reload"}\n\n')

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events, from now on."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield b"retry: 1000\n\n"
            while True:
                line: bytes | None = b": still here\n\n"
                with contextlib.suppress(TimeoutError):
                    line = await asyncio.wait_for(queue.get(), KEEP_ALIVE_S)
                if line is None:
                    return
                yield line
        finally:
            self._queues.discard(queue)

    def close(self) -> None:
        """End all streams: the sandbox stops."""
        for queue in self._queues:
            queue.put_nowait(None)


def page_router(watchers: Watchers) -> APIRouter:
    """`/`, its style and script, `/words/<language>` and `/events`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        return FileResponse(FOLDER / "index.html", headers=HEADERS)

    @router.get("/chat.css")
    async def style() -> Response:
        return FileResponse(FOLDER / "chat.css", headers=HEADERS)

    @router.get("/chat.js")
    async def script() -> Response:
        return FileResponse(FOLDER / "chat.js", headers=HEADERS, media_type="text/javascript")

    @router.get("/words/{language}")
    async def words(language: Language) -> Response:
        return JSONResponse(page_words(language))

    @router.get("/events")
    async def events() -> Response:
        return StreamingResponse(
            watchers.stream(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    return router
