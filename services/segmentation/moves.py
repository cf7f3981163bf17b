"""Who moved to another RFM segment: said once, and kept as history."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, Field

from chassis.ids import new_id
from chassis.pagination import Keyset, Page, PageAsked
from chassis.transaction import Row, Transaction
from contracts.segmentation import RfmMoved, RfmSegment
from services.segmentation.tables import rfm_moves

MOST_MOVES = 5000

LOCK = """
SELECT customer_id, said_segment, segment, recency, frequency, monetary
FROM rfm WHERE segment IS DISTINCT FROM said_segment
ORDER BY customer_id LIMIT $1 FOR UPDATE
"""
MARK = "UPDATE rfm SET said_segment = segment, moved_at = $2 WHERE customer_id = ANY ($1)"
KEEP = """
INSERT INTO rfm_moves (id, customer_id, before, after, recency, frequency, monetary, moved_at)
SELECT *, $8 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::smallint[], $6::smallint[], $7::smallint[])
"""
NEWEST_FIRST = Keyset([rfm_moves.c.id], descending=True)


class Move(BaseModel):
    """A customer came into another segment."""

    customer_id: UUID
    before: RfmSegment | None = Field(description="Null where there was none.")
    after: RfmSegment | None = Field(description="Null where the last purchase left the window.")
    recency: int | None = Field(examples=[5])
    frequency: int | None = Field(examples=[4])
    monetary: int | None = Field(examples=[3])
    moved_at: datetime


async def say_moves(tx: Transaction, most: int = MOST_MOVES) -> int:
    """Say and keep the moves that are still unsaid, at most so many, and how many they were.

    The rows are locked first, in a statement of its own: whoever else is at it waits, and then finds them said.
    """
    moved = await tx.sql(LOCK, most)
    if not moved:
        return 0
    customers = [row.customer_id for row in moved]
    await tx.sql(MARK, customers, tx.now)
    await tx.sql(
        KEEP,
        [new_id() for _ in moved],
        customers,
        [row.said_segment for row in moved],
        [row.segment for row in moved],
        [row.recency for row in moved],
        [row.frequency for row in moved],
        [row.monetary for row in moved],
        tx.now,
    )
    tx.say(*(_said(row, tx.now) for row in moved))
    return len(moved)


def _said(row: Row, now: datetime) -> RfmMoved:
    return RfmMoved(
        customer_id=row.customer_id,
        before=row.said_segment,
        after=row.segment,
        recency=row.recency,
        frequency=row.frequency,
        monetary=row.monetary,
        moved_at=now,
    )


async def page_of_moves(
    tx: Transaction, asked: PageAsked, *, before: RfmSegment | None, after: RfmSegment | None
) -> Page[Move]:
    """Newest first; of those who left `before` or came into `after`, where these are given."""
    select = _select()
    if before is not None:
        select = select.where(rfm_moves.c.before == before)
    if after is not None:
        select = select.where(rfm_moves.c.after == after)
    rows, cursor = await NEWEST_FIRST.page(tx, select, asked)
    return Page(items=_moves(rows), next=cursor)


async def last_moves(tx: Transaction, customer_id: UUID, most: int) -> list[Move]:
    """The customer's own, newest first."""
    select = _select().where(rfm_moves.c.customer_id == customer_id)
    return _moves((await tx.execute(select.order_by(rfm_moves.c.id.desc()).limit(most))).all())


def _select() -> sa.Select[Any]:
    return sa.select(*(rfm_moves.c[name] for name in Move.model_fields))


def _moves(rows: Sequence[sa.Row[Any]]) -> list[Move]:
    return [Move.model_validate(row, from_attributes=True) for row in rows]
