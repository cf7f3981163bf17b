"""The audit trail: who did what to a customer's record, and when. It holds names of fields, never their values."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, Field

from chassis.actor import Actor
from chassis.ids import new_id
from chassis.pagination import Keyset, Page, PageAsked
from chassis.transaction import Transaction
from services.customers import tables

Action = Literal[
    "registered",
    "changed",
    "consent_given",
    "consent_withdrawn",
    "card_added",
    "card_blocked",
    "card_unblocked",
    "card_replaced",
    "blocked",
    "unblocked",
    "merged",
    "merged_into",
    "unmerged",
    "unmerged_from",
    "unreachable",
    "erased",
]
NEWEST_FIRST = Keyset([tables.audit.c.id], descending=True)


BOT: Final = Actor("bot")


class AuditLine(BaseModel):
    """One thing done to a customer's record."""

    at: datetime
    action: Action
    what: list[str] = Field(
        description="Names of fields, channels, card numbers, ids; never a value.",
        examples=[["phone", "language"]],
    )
    who: str = Field(
        description="As the header Kopilka-Actor named them, or the service that said so.", examples=["till:367-04"]
    )


async def record(
    tx: Transaction, customer_id: UUID, action: Action, who: Actor | str, what: Iterable[str] = ()
) -> None:
    """Write down that it was done, by an actor of the API or a service of this name."""
    await tx.execute(
        tables.audit.insert().values(
            id=new_id(),
            customer_id=customer_id,
            at=tx.now,
            action=action,
            what=list(what),
            who=str(who),
        )
    )


async def trail(tx: Transaction, customer_id: UUID, asked: PageAsked) -> Page[AuditLine]:
    """What was done to a customer's record, the newest first."""
    lines = sa.select(tables.audit).where(tables.audit.c.customer_id == customer_id)
    rows, following = await NEWEST_FIRST.page(tx, lines, asked)
    return Page(items=[AuditLine.model_validate(row, from_attributes=True) for row in rows], next=following)
