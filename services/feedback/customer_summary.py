"""What one customer told us."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, Field

from chassis.field_faults import N_
from chassis.problems import Problem
from chassis.transaction import Transaction
from services.feedback.appeal_list import Appeal, appeal_of, select_appeals
from services.feedback.review_list import Review
from services.feedback.tables import appeals, customers, reviews

NEWEST_MAX: Final = 10


class Telegram(BaseModel):
    """The customer's chat with the bot."""

    is_linked: bool
    linked_at: datetime | None


class CustomerReviews(BaseModel):
    """How many, and the newest ten."""

    total: int
    newest: list[Review]


class CustomerAppeals(BaseModel):
    """How many, and the newest ten."""

    total: int
    open: int
    newest: list[Appeal]


class CustomerSummary(BaseModel):
    """The customer as feedback knows them."""

    customer_id: UUID
    telegram: Telegram
    asked_at: datetime | None = Field(description="When the NPS question was last asked.")
    erased_at: datetime | None
    reviews: CustomerReviews
    appeals: CustomerAppeals


async def customer_summary(tx: Transaction, customer_id: UUID) -> CustomerSummary:
    """Raises `Problem` 404 where nothing is known of the customer here."""
    known = (await tx.execute(sa.select(customers).where(customers.c.customer_id == customer_id))).one_or_none()
    if known is None:
        raise Problem(404, "customer_not_found", N_("Nothing is known of a customer with this id here."))
    return CustomerSummary(
        customer_id=customer_id,
        telegram=Telegram(is_linked=known.chat_id is not None, linked_at=known.linked_at),
        asked_at=known.asked_at,
        erased_at=known.erased_at,
        reviews=await _reviews(tx, customer_id),
        appeals=await _appeals(tx, customer_id),
    )


async def _reviews(tx: Transaction, customer_id: UUID) -> CustomerReviews:
    total = await _count(tx, reviews, reviews.c.customer_id == customer_id)
    select = sa.select(reviews).where(reviews.c.customer_id == customer_id)
    newest = (await tx.execute(select.order_by(reviews.c.id.desc()).limit(NEWEST_MAX))).all()
    return CustomerReviews(total=total, newest=[Review.model_validate(row, from_attributes=True) for row in newest])


async def _appeals(tx: Transaction, customer_id: UUID) -> CustomerAppeals:
    of_customer = appeals.c.customer_id == customer_id
    select = select_appeals(customer_id=customer_id).order_by(appeals.c.id.desc()).limit(NEWEST_MAX)
    return CustomerAppeals(
        total=await _count(tx, appeals, of_customer),
        open=await _count(tx, appeals, of_customer & appeals.c.answered_at.is_(None)),
        newest=[appeal_of(row) for row in (await tx.execute(select)).all()],
    )


async def _count(tx: Transaction, table: sa.Table, condition: Any) -> int:
    counted = await tx.execute(sa.select(sa.func.count()).select_from(table).where(condition))
    return int(counted.scalar_one())
