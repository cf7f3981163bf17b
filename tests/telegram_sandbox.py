"""The sandbox's Telegram for tests: served over HTTP on a port of its own, and persons who use it."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from deploy.sandbox.telegram.limits import Limits
from deploy.sandbox.telegram.sandbox import TOKEN, Sandbox
from deploy.sandbox.telegram.world import World

UNLIMITED = Limits(per_second=0, per_chat_per_second=0, chat_burst=1)


@dataclass
class PersonAtPhone:
    """Somebody with Telegram; does what the chat page does."""

    http: httpx.AsyncClient
    world: World
    id: int
    phone: str

    async def writes(self, text: str) -> None:
        await self._post("text", {"text": text})

    async def shares_contact(self, **somebody_else: object) -> None:
        await self._post("contact", somebody_else or None)

    async def presses(self, data: str) -> str:
        """The id of the press."""
        return str((await self._post("press", {"data": data}))["id"])

    async def blocks(self) -> None:
        await self._post("block")

    async def unblocks(self) -> None:
        await self._post("unblock")

    async def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.http.get(f"/sandbox/persons/{self.id}/messages")).json()
        return found

    def heard(self) -> list[str]:
        """The texts that the bot wrote, the oldest first."""
        return [message.text or "" for message in self.world.chats[self.id].messages.values() if message.from_bot]

    async def chat(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get(f"/sandbox/persons/{self.id}")).json()
        return found

    async def answer_to(self, press_id: str) -> dict[str, Any]:
        presses = (await self.http.get(f"/sandbox/persons/{self.id}/presses")).json()
        found: dict[str, Any] = next(press for press in presses if press["id"] == press_id)
        return found

    async def hears(self, wanted: Callable[[str], bool] | str, *, within_s: float = 20) -> str:
        """Wait for a message of the bot that contains the words (or that is so); gives the newest such."""
        deadline = time.monotonic() + within_s
        while True:
            texts = self.heard()
            for text in reversed(texts):
                if wanted in text if isinstance(wanted, str) else wanted(text):
                    return text
            if time.monotonic() > deadline:
                raise AssertionError(f"not heard within {within_s:g} s, but: {texts}")
            await asyncio.sleep(0.02)

    async def _post(self, what: str, body: object = None) -> dict[str, Any]:
        response = await self.http.post(f"/sandbox/persons/{self.id}/{what}", json=body)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


@dataclass
class RunningSandbox:
    """A sandbox that answers at `url` to bots that say `token`."""

    url: str
    sandbox: Sandbox
    http: httpx.AsyncClient
    token: str = TOKEN

    async def person(
        self, first_name: str = "Анна", *, phone: str = "+79161234567", language_code: str = "ru"
    ) -> PersonAtPhone:
        response = await self.http.post(
            "/sandbox/persons", json={"first_name": first_name, "phone": phone, "language_code": language_code}
        )
        response.raise_for_status()
        return PersonAtPhone(self.http, self.sandbox.world, response.json()["id"], phone)


@contextlib.asynccontextmanager
async def telegram_sandbox(folder: Path, *, limits: Limits = UNLIMITED, port: int = 0) -> AsyncIterator[RunningSandbox]:
    """Runs until the end of the block; a second one in the same folder goes on from there."""
    sandbox = Sandbox(folder, limits=limits)
    config = uvicorn.Config(
        sandbox.app(local_only=True), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    with socket.create_server(("127.0.0.1", port)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
                yield RunningSandbox(url, sandbox, http)
        finally:
            sandbox.close()
            server.should_exit = True
            await serving
            sandbox.journal.close()
