"""The sandbox put together: one world, its journal, and the app that shows it to the bot, the page and scripts."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response

from chassis.edge import Gate, RequestLine
from chassis.problems import answer_with_problems
from deploy.sandbox.telegram.bell import Bell
from deploy.sandbox.telegram.bot_api import BotApi
from deploy.sandbox.telegram.bot_http import bot_router
from deploy.sandbox.telegram.journal import Journal
from deploy.sandbox.telegram.limits import Flood, Limits
from deploy.sandbox.telegram.page import Watchers, page_router
from deploy.sandbox.telegram.people import Json
from deploy.sandbox.telegram.persons_api import persons_router, view
from deploy.sandbox.telegram.words import PACKAGE
from deploy.sandbox.telegram.world import World

TOKEN: Final = "8110:sandbox"  # noqa: S105 (opens nothing but the sandbox)
"""What the services say to the sandbox where no token of a real bot is set."""


class Sandbox:
    """Lives in `folder`; what was there before goes on. Raises `Trouble` where another sandbox lives there."""

    def __init__(self, folder: Path, *, token: str = TOKEN, limits: Limits) -> None:
        self.changes = Bell()
        self.watchers = Watchers()
        self.journal = Journal(folder / "telegram.jsonl")
        self.world = World(int(token.partition(":")[0]), on_change=self._changed)
        self.world.restore(self.journal.facts())
        self.journal.rewrite(self.world.facts())
        flood = Flood(limits)
        self.bot_api = BotApi(token, self.world, flood, self.changes)
        self._routers = (
            bot_router(self.bot_api),
            persons_router(self.world, flood),
            page_router(self.watchers),
        )

    def app(self, *, local_only: bool) -> FastAPI:
        """`local_only` turns away a web page that makes its own host name point here."""
        app = FastAPI(
            title="Kopilka sandbox: Telegram",
            redoc_url=None,
            telemetry={"tracing": False, "metrics": False, "logs": False},
            middleware=[
                Middleware(RequestLine, service="sandbox"),
                *([Middleware(Gate, service="sandbox", token=None)] if local_only else []),
            ],
        )
        app.state.texts = PACKAGE
        answer_with_problems(app)
        for router in self._routers:
            app.include_router(router)

        @app.get("/livez", include_in_schema=False)
        async def livez() -> Response:
            return PlainTextResponse("alive\n")

        return app

    def close(self) -> None:
        """Let go of everybody who waits. What comes until the server has ended is still written."""
        self.changes.close()
        self.watchers.close()

    def _changed(self, fact: Json) -> None:
        if fact["kind"] not in ("toast", "action"):
            self.journal.write(fact)
        if fact["kind"] == "chat":
            shown = view(self.world.chats[fact["chat"]["person"]["id"]])
            self.watchers.tell({"kind": "chat", "chat": shown.model_dump()})
        else:
            self.watchers.tell(fact)
        self.changes.ring()
        if self.journal.is_long:
            self.journal.rewrite(self.world.facts())
