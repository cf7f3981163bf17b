"""Who is in a segment: by pages, and whole as CSV."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, Field

from chassis.database import Database
from chassis.pagination import Keyset, Page, PageAsked
from chassis.transaction import Transaction
from contracts.segmentation import RfmSegment
from services.segmentation.tables import features, rfm

CSV_PAGE = 2000
BY_CUSTOMER = Keyset([rfm.c.customer_id])


PERSON = (
    sa.text("""
    SELECT sum(purchases)::bigint AS purchases, min(first_purchase_at) AS first_purchase_at,
           max(last_purchase_at) AS last_purchase_at
    FROM (SELECT rfm.customer_id
          UNION ALL
          SELECT merged_id FROM merges WHERE survivor_id = rfm.customer_id AND stands) AS records
         JOIN features USING (customer_id)
    """)
    .columns(features.c.purchases, features.c.first_purchase_at, features.c.last_purchase_at)
    .lateral("person")
)
"""All records of a customer of `rfm` together."""


class Member(BaseModel):
    """A customer of the segment, with the scores of the last recomputation and lifetime counts."""

    customer_id: UUID
    recency: int = Field(examples=[5])
    frequency: int = Field(examples=[4])
    monetary: int = Field(examples=[3])
    since: datetime | None = Field(description="In the segment since; null until the move has been said.")
    purchases: int
    first_purchase_at: datetime | None
    last_purchase_at: datetime | None


async def page_of_members(tx: Transaction, segment: RfmSegment, asked: PageAsked) -> Page[Member]:
    """By customer id."""
    rows, cursor = await BY_CUSTOMER.page(tx, _select(segment), asked)
    return Page(items=[Member.model_validate(row, from_attributes=True) for row in rows], next=cursor)


async def members_as_csv(database: Database, segment: RfmSegment) -> AsyncIterator[str]:
    """The whole segment, a header line first, by customer id.

    A page at a time, each in a transaction of its own: a slow reader holds neither a connection nor a snapshot.
    Who moves meanwhile may be in it or not, but nobody twice.
    """
    yield _lines([list(Member.model_fields)])
    asked = PageAsked(CSV_PAGE, None)
    while True:
        async with database.reading() as tx:
            rows, cursor = await BY_CUSTOMER.page(tx, _select(segment), asked)
        if rows:
            yield _lines([[_cell(getattr(row, name)) for name in Member.model_fields] for row in rows])
        if cursor is None:
            return
        asked = PageAsked(CSV_PAGE, cursor)


def _select(segment: RfmSegment) -> sa.Select[Any]:
    since = sa.case((rfm.c.said_segment == rfm.c.segment, rfm.c.moved_at)).label("since")
    known = {**dict(PERSON.c.items()), **dict(rfm.c.items()), "since": since}
    return (
        sa.select(*(known[name] for name in Member.model_fields))
        .select_from(rfm.join(PERSON, sa.true()))
        .where(rfm.c.segment == segment)
    )


def _lines(rows: Iterable[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
