"""The dead letters of a service over HTTP: look at them, replay them after a fix, drop them."""

import base64
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

import sqlalchemy as sa
import structlog
from fastapi import Query
from pydantic import BaseModel, Field

from chassis import dead_letter_settling
from chassis.envelope import RECORD_MAX_BYTES
from chassis.pagination import Keyset, Page, Paging
from chassis.problems import Problem
from chassis.request_transaction import Tx, service_router
from chassis.tables import dead_letters
from chassis.transaction import Transaction

log = structlog.get_logger()
router = service_router(prefix="/dead-letters", tags=["dead letters"])

REPLAY_MAX_BYTES: Final = 16 * 1024 * 1024
"""What one request replays at most, beside its count: all of it passes through memory."""

State = Literal["kept", "replayed", "dropped"]
NEWEST_FIRST = Keyset([dead_letters.c.id], descending=True)
VALUE_BYTES = sa.func.coalesce(sa.func.octet_length(dead_letters.c.value), 0)
WITHOUT_BYTES = (
    dead_letters.c.id,
    dead_letters.c.topic,
    dead_letters.c.partition,
    dead_letters.c.offset,
    dead_letters.c.reason,
    dead_letters.c.detail,
    dead_letters.c.died_at,
    dead_letters.c.state,
    dead_letters.c.settled_at,
    VALUE_BYTES.label("value_bytes"),
)


class DeadLetterLine(BaseModel):
    """A record that the service could not process."""

    id: UUID
    topic: str = Field(description="The topic it came from, and goes back to when it is replayed.")
    partition: int
    offset: int
    reason: str = Field(description="A stable word.", examples=["invalid"])
    detail: str = Field(description="The field at fault and how to mend it.")
    died_at: datetime
    state: State
    settled_at: datetime | None
    value_bytes: int


class Content(BaseModel):
    """Bytes: as text where they are UTF-8, in base64 otherwise; neither where there are none (null)."""

    text: str | None = None
    base64: str | None = None

    @classmethod
    def of(cls, content: bytes | None) -> Self:
        if content is None:
            return cls()
        try:
            return cls(text=content.decode())
        except UnicodeDecodeError:
            return cls(base64=base64.b64encode(content).decode())


class Header(Content):
    """One header of the record."""

    name: str


class DeadLetterShown(DeadLetterLine):
    """The record with all of its bytes."""

    key: Content | None
    value: Content | None
    headers: list[Header]


class Replayed(BaseModel):
    """How many went back to their topic, and whether there are more of the kind."""

    replayed: int
    more: bool


@router.get("")
async def list_dead_letters(
    tx: Tx,
    paging: Paging,
    state: State | None = None,
    topic: Annotated[str | None, Query(max_length=249)] = None,
) -> Page[DeadLetterLine]:
    """The newest first, without their bytes."""
    select = sa.select(*WITHOUT_BYTES)
    if state is not None:
        select = select.where(dead_letters.c.state == state)
    if topic is not None:
        select = select.where(dead_letters.c.topic == topic)
    rows, following = await NEWEST_FIRST.page(tx, select, paging)
    return Page(items=[DeadLetterLine.model_validate(row, from_attributes=True) for row in rows], next=following)


@router.get("/{id}")
async def show_dead_letter(tx: Tx, id: UUID) -> DeadLetterShown:
    """One with its key, headers and value: it may carry personal data."""
    letters = await dead_letter_settling.find(tx, ids=[id], settled=True)
    if not letters:
        raise _not_found()
    (letter,) = letters
    facts: dict[str, Any] = {
        name: getattr(letter, name) for name in DeadLetterLine.model_fields if name != "value_bytes"
    }
    return DeadLetterShown(
        **facts,
        value_bytes=len(letter.value or b""),
        key=None if letter.key is None else Content.of(letter.key),
        value=None if letter.value is None else Content.of(letter.value),
        headers=[Header(name=name, **Content.of(value).model_dump()) for name, value in letter.headers],
    )


@router.post("/{id}/replay", status_code=204)
async def replay_dead_letter(tx: Tx, id: UUID) -> None:
    """Publish it once more on its own topic, byte for byte."""
    await _settled(tx, id, await dead_letter_settling.replay(tx, [id]))
    log.info("dead_letter_replayed", dead_letter=str(id))


@router.post("/{id}/drop", status_code=204)
async def drop_dead_letter(tx: Tx, id: UUID) -> None:
    """Nobody will process it; the copy on the dead-letter topic stays its time."""
    await _settled(tx, id, await dead_letter_settling.drop(tx, [id]))
    log.info("dead_letter_dropped", dead_letter=str(id))


@router.post("/replay-all")
async def replay_dead_letters(
    tx: Tx,
    reason: Annotated[str, Query(min_length=1, max_length=100)],
    topic: Annotated[str | None, Query(max_length=249)] = None,
    most: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> Replayed:
    """The oldest that died of the reason, at most so many: call it again (with a new key) while there are more."""
    ids, more = await _oldest(tx, reason, topic, most)
    replayed = await dead_letter_settling.replay(tx, ids)
    log.info("dead_letters_replayed", reason=reason, topic=topic, letters=len(replayed))
    return Replayed(replayed=len(replayed), more=more)


async def _oldest(tx: Transaction, reason: str, topic: str | None, most: int) -> tuple[list[UUID], bool]:
    """Which to replay at once, at least one if there is one, and whether more wait."""
    select = (
        sa.select(dead_letters.c.id, VALUE_BYTES.label("size"))
        .where(dead_letters.c.state == "kept", dead_letters.c.reason == reason, VALUE_BYTES <= RECORD_MAX_BYTES)
        .order_by(dead_letters.c.died_at, dead_letters.c.id)
        .limit(most + 1)
    )
    if topic is not None:
        select = select.where(dead_letters.c.topic == topic)
    rows = (await tx.execute(select)).all()
    ids: list[UUID] = []
    total_bytes = 0
    for row in rows[:most]:
        total_bytes += row.size
        if ids and total_bytes > REPLAY_MAX_BYTES:
            break
        ids.append(row.id)
    return ids, len(ids) < len(rows)


async def _settled(tx: Transaction, id: UUID, settled: list[UUID]) -> None:
    """Tell the caller who came too late, or asked for what is not there."""
    if settled:
        return
    known = await tx.execute(sa.select(dead_letters.c.state).where(dead_letters.c.id == id))
    state = known.scalar_one_or_none()
    if state is None:
        raise _not_found()
    if state == "kept":
        raise Problem(
            409,
            "dead_letter_too_large",
            "This dead letter is larger than a topic takes ({largest} bytes): it can only be dropped.",
            largest=RECORD_MAX_BYTES,
        )
    raise Problem(
        409,
        "dead_letter_settled",
        "This dead letter is settled already: its state is {state}. Only one that is kept can be settled.",
        state=state,
    )


def _not_found() -> Problem:
    return Problem(404, "dead_letter_not_found", "No dead letter has this id; GET /dead-letters lists them.")
