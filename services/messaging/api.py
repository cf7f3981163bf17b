"""Messaging's HTTP API: what customers were told, what it cost, and sending a message again."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, Field

from chassis.pagination import Keyset, Page, Paging
from chassis.periods import MomentAsked, Period, PeriodAsked
from chassis.problems import Problem
from chassis.request_transaction import Tx, service_router
from chassis.tracing import trace_id
from contracts.messaging import Button
from services.messaging.sending_again import send_again
from services.messaging.tables import messages

router = service_router(tags=["messages"])

Status = Literal["accepted", "scheduled", "sending", "sent", "failed", "unknown", "expired"]
MessageId = Annotated[UUID, Path(description="The message.")]
DAYS_MAX = 400


class MessageOut(BaseModel):
    """One message to a customer."""

    id: UUID
    message_key: str = Field(description="The asker's own unique name of the message.")
    customer_id: UUID
    template: str
    purpose: Literal["service", "advertising"]
    language: Literal["ru", "en"] | None
    text: str | None = Field(description="The full text; null where the customer was erased or never known here.")
    buttons: list[list[Button]]
    channel: str | None
    status: Status
    reason: str | None = Field(description="Why it failed, or why its fate is unknown.", examples=["bot_blocked"])
    provider_message_id: str | None
    cost_micros: int | None = Field(description="What it cost, millionths of the money unit.")
    cost_currency: str | None
    attempts: int
    accepted_at: datetime
    due_at: datetime | None = Field(description="When the night of its customer is over, for which it waits.")
    expires_at: datetime | None
    sending_at: datetime | None = Field(description="When it was last taken up for sending.")
    settled_at: datetime | None = Field(description="When it was sent, failed, expired or became unknown.")
    trace_id: str | None = Field(description="The trace of what led to it, from the till on.")


class Total(BaseModel):
    """Messages of one day with one status on one channel, and what they cost together."""

    day: date
    channel: str | None
    status: Status
    messages: int
    cost_micros: int = Field(description="Millionths of the money unit.")
    cost_currency: str | None


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError("must be an IANA time zone, such as Europe/Moscow") from None
    return name


Since = Annotated[MomentAsked, Query(alias="from", description="Accepted at this moment or later.")]
Until = Annotated[MomentAsked, Query(alias="to", description="Accepted before this moment.")]
TimeZone = Annotated[
    str, AfterValidator(_time_zone), Query(max_length=64, description="Whose days.", examples=["Europe/Moscow"])
]


@router.get("/messages")
async def list_messages(
    tx: Tx,
    paging: Paging,
    period: Period,
    *,
    customer_id: UUID | None = None,
    status: Status | None = None,
    template: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[MessageOut]:
    """Messages, the newest first. The period is that of their acceptance."""
    select = sa.select(messages).where(*period.holds(messages.c.accepted_at))
    if customer_id is not None:
        select = select.where(messages.c.customer_id == customer_id)
    if status is not None:
        select = select.where(messages.c.status == status)
    if template is not None:
        select = select.where(messages.c.template == template)
    rows, following = await Keyset([messages.c.id], descending=True).page(tx, select, paging)
    return Page(items=[_message(row) for row in rows], next=following)


@router.get("/messages/totals")
async def list_totals(tx: Tx, since: Since, until: Until, time_zone: TimeZone = "UTC") -> list[Total]:
    """How many messages and what they cost, by day of acceptance, channel and status; at most 400 days."""
    if not since < until:
        raise Problem(422, "bad_period", "The period ends before it begins.", field="to")
    if (until - since).days > DAYS_MAX:
        raise Problem(422, "bad_period", "The period is longer than {days} days.", field="to", days=DAYS_MAX)
    day = sa.cast(sa.func.timezone(time_zone, messages.c.accepted_at), sa.Date).label("day")
    grouped = (day, messages.c.channel, messages.c.status, messages.c.cost_currency)
    select = sa.select(
        *grouped,
        sa.func.count().label("messages"),
        sa.cast(sa.func.coalesce(sa.func.sum(messages.c.cost_micros), 0), sa.BigInteger).label("cost_micros"),
    )
    by = [sa.text(str(place + 1)) for place in range(len(grouped))]
    select = select.where(*PeriodAsked(since, until).holds(messages.c.accepted_at))
    rows = await tx.execute(select.group_by(*by).order_by(*by))
    return [Total.model_validate(row._mapping) for row in rows]


@router.get("/messages/{message_id}")
async def get_message(message_id: MessageId, tx: Tx) -> MessageOut:
    """One message."""
    row = (await tx.execute(sa.select(messages).where(messages.c.id == message_id))).first()
    if row is None:
        raise Problem(404, "message_not_found", "There is no message with this id.", field="message_id")
    return _message(row)


@router.post("/messages/{message_id}/send-again", status_code=202)
async def send_message_again(message_id: MessageId, tx: Tx) -> MessageOut:
    """Send a failed or unknown message again. One of unknown fate may then arrive twice."""
    await send_again(tx, message_id)
    return await get_message(message_id, tx)


def _message(row: sa.Row[Any]) -> MessageOut:
    return MessageOut.model_validate({**row._mapping, "trace_id": trace_id(row.traceparent)})
