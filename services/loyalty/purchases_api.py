"""Receipts over HTTP: searched by period, store, customer and state, as pages or as a file."""

from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import sqlalchemy as sa
from fastapi import Depends, Query
from pydantic import BaseModel, Field

from chassis.exports import RESPONSES, Column, Export, Exporting
from chassis.field_faults import N_
from chassis.pagination import Keyset, Page, Paging
from chassis.periods import Period
from chassis.request_transaction import Tx, service_router
from contracts.currencies import in_major_units
from services.loyalty.operations_api import PLAN_FOR_WHAT_IS_SOUGHT
from services.loyalty.tables import identifiers, merges, purchases

router = service_router()

SoughtState = Literal["quoted", "held", "completed", "partly_returned", "returned", "cancelled", "abandoned"]

NEWEST_FIRST: Final = Keyset([purchases.c.at, purchases.c.receipt_id], descending=True)
PURCHASES: Final = sa.select(*(column for column in purchases.c if column.name not in ("lines", "content_hash"))).where(
    purchases.c.state != sa.literal_column("'awaited'")
)


def _total(row: Any) -> Decimal:
    return in_major_units(row.total_minor, row.currency)


COLUMNS: Final = (
    Column(N_("Receipt"), attrgetter("receipt_id")),
    Column(N_("State"), attrgetter("state")),
    Column(N_("Quoted"), attrgetter("quoted_at")),
    Column(N_("Completed"), attrgetter("completed_at")),
    Column(N_("Store"), attrgetter("store_id")),
    Column(N_("Till"), attrgetter("terminal_id")),
    Column(N_("Card"), attrgetter("card_number")),
    Column(N_("Receipt total"), _total),
    Column(N_("Currency"), attrgetter("currency")),
    Column(N_("Points"), attrgetter("points")),
    Column(N_("Points paid"), attrgetter("points_paid")),
    Column(N_("Level"), attrgetter("level")),
    Column(N_("Withheld"), attrgetter("withheld")),
    Column(N_("Customer"), attrgetter("customer_id")),
    Column(N_("Account"), attrgetter("account_id")),
    Column(N_("Operation"), attrgetter("operation_id")),
)


class PurchaseFound(BaseModel):
    """A receipt without its lines."""

    receipt_id: str
    state: str
    customer_id: UUID
    account_id: UUID
    operation_id: UUID | None
    card_number: str | None
    store_id: str
    terminal_id: str
    quoted_at: datetime | None
    completed_at: datetime | None
    currency: str
    total_minor: int
    points: int = Field(description="What it earned; of a quote, what it would earn.")
    points_paid: int
    level: str
    withheld: str | None = Field(description="Why it earned nothing, if it would have earned.")


def _bought_by(customers: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """Whether a purchase is one of these customers', or of one who was merged into them, or into one of those."""
    person = customers.cte("person", recursive=True)
    parts = sa.select(merges.c.merged_id).where(merges.c.unmerged_at.is_(None))
    return purchases.c.customer_id.in_(
        sa.select(person.union(parts.join(person, merges.c.customer_id == person.c.customer_id)))
    )


def _persons_with(card_number: str) -> sa.Select[Any]:
    """The customer whose card it is, whom they were merged into, and so on."""
    named = sa.select(identifiers.c.customer_id).where(identifiers.c.identifier == card_number)
    persons = named.cte("persons", recursive=True)
    survivors = sa.select(merges.c.customer_id).where(merges.c.unmerged_at.is_(None))
    return sa.select(persons.union(survivors.join(persons, merges.c.merged_id == persons.c.customer_id)))


async def _sought(
    period: Period,
    store_id: Annotated[str | None, Query(max_length=64)] = None,
    customer_id: UUID | None = None,
    card_number: Annotated[str | None, Query(max_length=20)] = None,
    receipt_id: Annotated[str | None, Query(max_length=100)] = None,
    state: Annotated[list[SoughtState] | None, Query(description="May be given several times.")] = None,
) -> sa.Select[Any]:
    select = PURCHASES.where(*period.holds(purchases.c.at))
    if store_id is not None:
        select = select.where(purchases.c.store_id == store_id)
    if customer_id is not None:
        select = select.where(_bought_by(sa.select(sa.literal(customer_id, sa.Uuid).label("customer_id"))))
    if card_number is not None:
        select = select.where(purchases.c.card_number == card_number, _bought_by(_persons_with(card_number)))
    if receipt_id is not None:
        select = select.where(purchases.c.receipt_id == receipt_id)
    if state:
        select = select.where(purchases.c.state.in_(state))
    return select


Sought = Annotated[sa.Select[Any], Depends(_sought)]
"""The purchases that a request asks for."""


@router.get("/purchases")
async def list_purchases(tx: Tx, sought: Sought, paging: Paging) -> Page[PurchaseFound]:
    """Purchases, the newest first. The period is that of completing them; of those that are not, of their quote."""
    await tx.sql(PLAN_FOR_WHAT_IS_SOUGHT)
    rows, following = await NEWEST_FIRST.page(tx, sought, paging)
    return Page(items=[PurchaseFound.model_validate(row._mapping) for row in rows], next=following)


@router.get("/purchases.{format}", responses=RESPONSES)
async def export_purchases(sought: Sought, asked: Exporting) -> Export:
    """The same purchases in the same order as a file; money in whole units, points as they are kept."""
    return asked.of(sought.order_by(*(column.desc() for column in NEWEST_FIRST.columns)), COLUMNS, "purchases")
