"""A till that speaks HTTP: as lean as can be, so that the service is measured and not its client."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from chassis.actor import Actor
from chassis.database import Database
from chassis.ids import new_id_text
from services.loyalty import terminals

STORE, TERMINAL = "1", "1-1"
START_TIMEOUT_S = 30
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Till:
    """HTTP/1.1 on connections that stay open, as many as are needed at once."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key
        self._idle: list[Connection] = []

    async def ask(self, receipt_id: str, what: str, body: bytes = b"{}") -> tuple[int, Any]:
        """Ask for a receipt's quote, hold or release; status and document of the answer."""
        head = (
            f"POST /till/purchases/{receipt_id}/{what} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.key}\r\nIdempotency-Key: {new_id_text()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        while True:
            reader, writer = connection = self._idle.pop() if self._idle else await self._connect()
            try:
                writer.write(head.encode() + body)
                answered = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                continue  # the server closes what was idle for a while; the key makes the repetition harmless
            length = LENGTH.search(answered)
            assert length is not None, answered
            document = await reader.readexactly(int(length[1]))
            self._idle.append(connection)
            return int(answered[9:12]), orjson.loads(document)

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()

    async def wait_until_served(self) -> None:
        """Until the API listens. Raises TimeoutError."""
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                try:
                    self._idle.append(await self._connect())
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    return

    async def _connect(self) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def till(database: Database, port: int) -> AsyncIterator[Till]:
    """A till with a key of its own, once the API at that port listens."""
    who = Actor("operator", "benchmark")
    async with database.transaction() as tx:
        await terminals.register(tx, TERMINAL, STORE, who)
        key = await terminals.new_key(tx, TERMINAL, who)
    made = Till(port, key)
    await made.wait_until_served()
    try:
        yield made
    finally:
        await made.close()
