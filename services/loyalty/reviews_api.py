"""The operators' HTTP API over what broke a limit: looking at it, approving, rejecting."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import sqlalchemy as sa
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from chassis.actor import Who
from chassis.pagination import Keyset, Page, Paging
from chassis.request_transaction import Tx, service_router
from chassis.transaction import Transaction
from services.loyalty import verdicts
from services.loyalty.documents import Key, WhyForm
from services.loyalty.tables import reviews
from services.loyalty.terms import Measure, Per

router = service_router(prefix="/reviews", tags=["loyalty"])

NEWEST_FIRST = Keyset([reviews.c.id], descending=True)
State = Literal["open", "approved", "rejected"]


class ReviewOut(BaseModel):
    """A purchase or a return that broke a limit."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    limit_code: str = Field(description="The limit in the terms.", examples=["till_day"])
    per: Per
    measure: Measure
    subject: str = Field(description="The card, customer or till, or the card@till.", examples=["367-04"])
    counted: int = Field(description="So much was counted, this one among it.")
    most: int = Field(description="So much was allowed.")
    hard: bool = Field(description="Whether the purchase earns nothing unless it is approved.")
    receipt_id: str
    return_id: str | None = Field(description="The return, where it was one; `cancelled:` and the receipt's id.")
    operation_id: UUID | None = Field(description="By which it was entered; null: it waits for its purchase.")
    customer_id: UUID = Field(description="Who bought.")
    store_id: str
    terminal_id: str
    occurred_at: datetime
    flagged_at: datetime
    state: State
    decided_by: str | None = Field(examples=["operator:anna"])
    decided_at: datetime | None
    reason: str | None = Field(examples=["cashiers_own_card"])
    comment: str | None = Field(description="For the staff alone.")
    correction_id: UUID | None = Field(description="The operation that changed what the purchase had earned.")


@router.get("")
async def list_reviews(
    tx: Tx,
    paging: Paging,
    state: State | None = None,
    limit_code: Annotated[str | None, Query(max_length=64)] = None,
    customer: UUID | None = None,
    store: Annotated[str | None, Query(max_length=64)] = None,
    terminal: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[ReviewOut]:
    """What broke limits, the newest first."""
    asked: dict[sa.ColumnElement[Any], Any] = {
        reviews.c.state: state,
        reviews.c.limit_code: limit_code,
        reviews.c.customer_id: customer,
        reviews.c.store_id: store,
        reviews.c.terminal_id: terminal,
    }
    select = sa.select(reviews).where(*(column == value for column, value in asked.items() if value is not None))
    rows, following = await NEWEST_FIRST.page(tx, select, paging)
    return Page(items=[ReviewOut.model_validate(row) for row in rows], next=following)


@router.post("/{review_id}/approve")
async def approve(review_id: UUID, form: WhyForm, who: Who, key: Key, tx: Tx) -> ReviewOut:
    """It was right. A purchase that was withheld is credited with what it would have earned."""
    await verdicts.decide(tx, review_id, "approved", form.why(who, key))
    return await _review(tx, review_id)


@router.post("/{review_id}/reject")
async def reject(review_id: UUID, form: WhyForm, who: Who, key: Key, tx: Tx) -> ReviewOut:
    """It was not right. What the purchase has earned is taken back."""
    await verdicts.decide(tx, review_id, "rejected", form.why(who, key))
    return await _review(tx, review_id)


async def _review(tx: Transaction, review_id: UUID) -> ReviewOut:
    row = (await tx.execute(sa.select(reviews).where(reviews.c.id == review_id))).one()
    return ReviewOut.model_validate(row)
