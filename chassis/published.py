"""Answers that say whether what a request said is on the bus already.

What is kept for a repetition is not the answer but the place in the outbox: each repetition looks there anew, so that
one who was told 202 learns by it when the broker has it.
"""

import asyncio
import json
from typing import Any, Final, Literal

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from chassis import outbox
from chassis.database import Database, is_infrastructure_trouble
from chassis.field_faults import N_
from chassis.idempotency import REPLAYED
from chassis.languages import preferred_language, translator
from chassis.request_transaction import TransactionRoute
from chassis.transaction import Transaction

PATIENCE_S: Final = 5.0
FIRST_PAUSE_S: Final = 0.005
LONGEST_PAUSE_S: Final = 0.25
PAUSE_GROWTH: Final = 1.5
NOT_YET: Final = N_("It is kept here and will be published once the broker takes it; there is no need to repeat it.")


class Published(BaseModel):
    """What was said is on the bus."""

    published: Literal[True] = True


class NotYetPublished(BaseModel):
    """What was said is safe here, and on its way: the broker has not taken it yet."""

    published: Literal[False] = False
    detail: str = Field(description="What that means, in the caller's language.", examples=[NOT_YET])


class PublishedRoute(TransactionRoute):
    """Commits what its endpoint says, and answers when the broker has it: 201; 202 where that takes too long.

    The endpoint answers nothing of its own. While it waits it holds no connection but for a moment at a time: the
    relay, in whichever process it leads, takes the words out of the outbox once they are published.
    """

    def __init__(self, path: str, endpoint: Any, **options: Any) -> None:
        answers = {201: {"model": Published}, 202: {"model": NotYetPublished}}
        options |= {"status_code": 201, "responses": {**answers, **(options.get("responses") or {})}}
        super().__init__(path, endpoint, **options)

    async def kept(self, tx: Transaction, response: Response) -> Response:  # noqa: ARG002
        """Where in the outbox its last word is: the others are published before it or with it."""
        await tx.write_outbox()
        last = await outbox.last(tx) if tx.has_spoken else None
        return Response(json.dumps({"said": last}), status_code=202, media_type="application/json")

    async def answered(self, request: Request, kept: Response) -> Response:
        """Wait for the relay to publish it."""
        said = json.loads(bytes(kept.body))["said"]
        is_published = said is None or await _is_published(request.app.state.database, said)
        language = preferred_language(request.headers.get("accept-language"))
        text = translator(request.app.state.texts, language).gettext(NOT_YET)
        answer: BaseModel = Published() if is_published else NotYetPublished(detail=text)
        headers = {"Content-Language": language, "Vary": "Accept-Language"} if not is_published else {}
        if REPLAYED in kept.headers:
            headers[REPLAYED] = kept.headers[REPLAYED]
        return Response(
            answer.model_dump_json(),
            status_code=201 if is_published else 202,
            headers=headers,
            media_type="application/json",
        )


async def _is_published(database: Database, word: int) -> bool:
    """Whether the word is published within PATIENCE_S; not known to be so where the database cannot tell."""
    pause_s = FIRST_PAUSE_S
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await _is_gone(database, word):
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)
    except Exception as error:
        if not is_infrastructure_trouble(error):
            raise
        return False
    return True


async def _is_gone(database: Database, word: int) -> bool:
    async with database.looking() as tx:
        return await outbox.is_gone(tx, word)
