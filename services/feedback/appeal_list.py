"""Appeals for those who answer them: a list, and one by itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, Field

from chassis.field_faults import N_
from chassis.pagination import Keyset, Page, PageAsked
from chassis.problems import Problem
from chassis.transaction import Transaction
from services.feedback.tables import appeals

State = Literal["open", "answered"]
Delivery = Literal["waiting", "delivered", "undeliverable"]
OLDEST_FIRST: Final = Keyset([appeals.c.id])
NEWEST_FIRST: Final = Keyset([appeals.c.id], descending=True)


class Appeal(BaseModel):
    """Something that a customer wrote, and what we answered."""

    id: UUID
    number: int = Field(description="What the customer knows it by.")
    customer_id: UUID | None = Field(description="Null where the chat is not linked to a customer.")
    state: State
    text: str | None = Field(description="Null where its writer was erased.")
    opened_at: datetime
    answer: str | None
    answered_at: datetime | None
    delivery: Delivery | None = Field(description="Whether the answer reached the chat.")
    delivery_at: datetime | None


async def page_of_appeals(
    tx: Transaction, asked: PageAsked, *, state: State | None, customer_id: UUID | None
) -> Page[Appeal]:
    """Open ones: who waits longest first; else the newest first."""
    order = OLDEST_FIRST if state == "open" else NEWEST_FIRST
    rows, cursor = await order.page(tx, select_appeals(state=state, customer_id=customer_id), asked)
    return Page(items=[appeal_of(row) for row in rows], next=cursor)


async def one_appeal(tx: Transaction, appeal_id: UUID) -> Appeal:
    """Raises `Problem` 404."""
    row = (await tx.execute(sa.select(appeals).where(appeals.c.id == appeal_id))).one_or_none()
    if row is None:
        raise Problem(404, "appeal_not_found", N_("There is no appeal with this id; GET /appeals lists them."))
    return appeal_of(row)


def select_appeals(*, state: State | None = None, customer_id: UUID | None = None) -> sa.Select[Any]:
    """The rows that `appeal_of` takes."""
    conditions: list[sa.ColumnElement[bool]] = []
    if state is not None:
        conditions.append(appeals.c.answered_at.is_(None) if state == "open" else appeals.c.answered_at.is_not(None))
    if customer_id is not None:
        conditions.append(appeals.c.customer_id == customer_id)
    return sa.select(appeals).where(*conditions)


def appeal_of(row: Any) -> Appeal:
    """The appeal in a row of the table."""
    fields: dict[str, Any] = {name: getattr(row, name) for name in FIELDS}
    return Appeal(**fields, state="open" if row.answered_at is None else "answered")


FIELDS: Final[Sequence[str]] = [name for name in Appeal.model_fields if name != "state"]
