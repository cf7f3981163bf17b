"""Everything known of one customer, for people to read."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, Field

from chassis.field_faults import N_
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.segmentation import RfmSegment
from services.segmentation.merges import records_of
from services.segmentation.moves import Move, last_moves
from services.segmentation.tables import category_spending, features, purchases, rfm, spending, store_spending
from services.segmentation.window import window_days


def _sum(column: sa.Column[int]) -> sa.Label[int]:
    return sa.cast(sa.func.sum(column), sa.BigInteger).label(column.name)


SUMS = (
    *(_sum(features.c[name]) for name in ("purchases", "returns", "cancellations")),
    sa.func.min(features.c.first_purchase_at).label("first_purchase_at"),
    *(sa.func.max(features.c[name]).label(name) for name in ("last_purchase_at", "changed_at")),
)
"""The features of a person, of whom there may be several records."""
LIST_MAX = 100
"""Rows of each list within a profile: the largest totals, the newest moves."""


class CurrencySpending(BaseModel):
    """The customer's money in one currency, smallest unit."""

    currency: str = Field(examples=["RUB"])
    purchases: int = Field(description="Those of which anything is left.")
    paid_minor: int
    returned_minor: int
    total_minor: int = Field(description="Paid less returned.", examples=[114000])
    average_receipt_minor: int | None = Field(
        description="Total by purchase, half a unit rounded up; null without a purchase."
    )


class CategorySpending(BaseModel):
    """Paid less returned for one product category, smallest unit."""

    currency: str
    category: str = Field(examples=["BANANAS"])
    total_minor: int


class StoreSpending(BaseModel):
    """Paid less returned for purchases at one store, smallest unit."""

    currency: str
    store_id: str = Field(examples=["367"])
    purchases: int
    total_minor: int


class WindowStanding(BaseModel):
    """What RFM looks at: purchases within the window, up to this moment."""

    days: int = Field(examples=[365])
    purchases: int
    last_purchase_at: datetime | None
    spent_minor: dict[str, int] = Field(description="By currency.", examples=[{"RUB": 114000}])


class Rfm(BaseModel):
    """The scores (1 to 5, 5 best) and the segment of the last recomputation."""

    recency: int
    frequency: int
    monetary: int
    segment: RfmSegment
    since: datetime | None = Field(description="In the segment since; null until the move has been said.")


class Profile(BaseModel):
    """The features of a customer. Purchases that were cancelled or came back whole are not counted."""

    customer_id: UUID
    purchases: int
    returns: int
    cancellations: int
    first_purchase_at: datetime | None
    last_purchase_at: datetime | None
    changed_at: datetime
    spending: list[CurrencySpending]
    categories: list[CategorySpending] = Field(description=f"The {LIST_MAX} largest.")
    stores: list[StoreSpending] = Field(description=f"The {LIST_MAX} largest.")
    window: WindowStanding
    rfm: Rfm | None = Field(description="Null where nothing was bought within the window, or nothing is scored yet.")
    moves: list[Move] = Field(description=f"The {LIST_MAX} newest.")


def average_receipt(total_minor: int, purchases: int) -> int | None:
    """Half a unit is rounded up. Below zero only while a return waits for its purchase."""
    return (2 * total_minor + purchases) // (2 * purchases) if purchases > 0 else None


async def profile_of(tx: Transaction, customer_id: UUID) -> Profile:
    """Of all records of the person.

    Raises `Problem` 404 where nothing was ever bought, and where the customer was erased.
    """
    records = await records_of(tx, customer_id)
    found = await tx.execute(
        sa.select(*SUMS).where(features.c.customer_id.in_(records), features.c.erased_at.is_(None))
    )
    row = found.mappings().one()
    if row["changed_at"] is None:
        raise Problem(
            404,
            "customer_not_found",
            N_("No purchase of this customer is known here; a first one shows within seconds of its receipt."),
            field="customer_id",
        )
    return Profile(
        customer_id=customer_id,
        **row,
        spending=await _spending(tx, records),
        categories=[CategorySpending(**each) for each in await _largest(tx, category_spending, records)],
        stores=[StoreSpending(**each) for each in await _largest(tx, store_spending, records)],
        window=await _standing(tx, records),
        rfm=await _rfm(tx, customer_id),
        moves=await last_moves(tx, customer_id, LIST_MAX),
    )


async def _spending(tx: Transaction, records: Sequence[UUID]) -> list[CurrencySpending]:
    select = sa.select(
        spending.c.currency, *(_sum(spending.c[name]) for name in ("purchases", "paid_minor", "returned_minor"))
    ).where(spending.c.customer_id.in_(records))
    select = select.group_by(spending.c.currency).order_by(spending.c.currency)
    return [
        CurrencySpending(
            currency=row.currency,
            purchases=row.purchases,
            paid_minor=row.paid_minor,
            returned_minor=row.returned_minor,
            total_minor=row.paid_minor - row.returned_minor,
            average_receipt_minor=average_receipt(row.paid_minor - row.returned_minor, row.purchases),
        )
        for row in await tx.execute(select)
    ]


async def _largest(tx: Transaction, table: sa.Table, records: Sequence[UUID]) -> list[dict[str, Any]]:
    named = [column for column in table.primary_key.columns if column.name != "customer_id"]
    select = sa.select(*named, *(_sum(column) for column in table.c if not column.primary_key))
    select = select.where(table.c.customer_id.in_(records)).group_by(*named)
    select = select.order_by(sa.desc("total_minor"), *named)
    return [dict(row) for row in (await tx.execute(select.limit(LIST_MAX))).mappings()]


async def _standing(tx: Transaction, records: Sequence[UUID]) -> WindowStanding:
    days = await window_days(tx)
    within = sa.select(
        purchases.c.currency,
        sa.func.count().label("purchases"),
        sa.func.max(purchases.c.completed_at).label("last_purchase_at"),
        sa.cast(sa.func.sum(purchases.c.total_minor - purchases.c.returned_minor), sa.BigInteger).label("spent"),
    ).where(
        purchases.c.customer_id.in_(records),
        purchases.c.counts,
        purchases.c.completed_at > tx.now - timedelta(days=days),
        purchases.c.completed_at <= tx.now,
    )
    rows = (await tx.execute(within.group_by(purchases.c.currency).order_by(purchases.c.currency))).all()
    return WindowStanding(
        days=days,
        purchases=sum(row.purchases for row in rows),
        last_purchase_at=max((row.last_purchase_at for row in rows), default=None),
        spent_minor={row.currency: row.spent for row in rows},
    )


async def _rfm(tx: Transaction, customer_id: UUID) -> Rfm | None:
    select = sa.select(rfm).where(rfm.c.customer_id == customer_id, rfm.c.segment.is_not(None))
    row = (await tx.execute(select)).one_or_none()
    if row is None:
        return None
    is_said = row.said_segment == row.segment
    return Rfm(
        recency=row.recency,
        frequency=row.frequency,
        monetary=row.monetary,
        segment=row.segment,
        since=row.moved_at if is_said else None,
    )
