"""What waits in a service over HTTP: look at it, and dismiss what nobody should wait for any longer."""

from datetime import datetime, timedelta
from typing import Annotated

import sqlalchemy as sa
import structlog
from fastapi import Path, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from chassis import giving_up
from chassis.actor import Who
from chassis.pagination import Keyset, Page, Paging
from chassis.problems import Problem
from chassis.request_transaction import Tx, service_router
from chassis.settings import Settings
from chassis.tables import waiting
from chassis.waiting import without_phone

log = structlog.get_logger()
router = service_router(prefix="/waiting", tags=["waiting"])

OLDEST_FIRST = Keyset([waiting.c.id])
WITHOUT_BYTES = tuple(waiting.c[name] for name in ("id", "awaits", "topic", "partition", "offset", "since"))


class WaitingLine(BaseModel):
    """A record that waits for what it needs."""

    id: int
    awaits: str = Field(description="What it waits for; of a phone the last digits.", examples=["card:2900000000018"])
    topic: str
    partition: int
    offset: int
    since: datetime
    until: datetime = Field(description="When it becomes a dead letter if that has not come.")


class DismissalForm(BaseModel):
    """Why a record should not wait any longer."""

    model_config = ConfigDict(extra="forbid")

    why: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="Kept in the dead letter for whoever looks at it; no personal data.",
        examples=["a card of our test till"],
    )


@router.get("")
async def list_waiting(tx: Tx, paging: Paging, request: Request) -> Page[WaitingLine]:
    """The oldest first, without their bytes."""
    settings: Settings = request.app.state.settings
    patience = timedelta(days=settings.waiting_days)
    rows, following = await OLDEST_FIRST.page(tx, sa.select(*WITHOUT_BYTES), paging)
    items = [
        WaitingLine(**{**row._mapping, "awaits": without_phone(row.awaits), "until": row.since + patience})
        for row in rows
    ]
    return Page(items=items, next=following)


@router.post("/{id}/dismiss", status_code=204)
async def dismiss_waiting(tx: Tx, id: Annotated[int, Path(ge=1, lt=2**63)], form: DismissalForm, who: Who) -> None:
    """Make it a dead letter now, instead of at its time; replayed from there, it waits anew."""
    if not await giving_up.dismiss(tx, id, who, form.why):
        raise Problem(
            404,
            "waiting_not_found",
            "No record waits under this id, or none waits any longer; GET /waiting lists them.",
        )
    log.info("waiting_dismissed", waiting=id, actor=str(who))
