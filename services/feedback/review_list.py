"""Reviews for those who read them: a list, and the NPS figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, Field

from chassis.pagination import Keyset, Page, PageAsked
from chassis.periods import PeriodAsked
from chassis.transaction import Transaction
from services.feedback.reviews import BEST_DETRACTOR, WORST_PROMOTER
from services.feedback.tables import reviews

STORES_MAX: Final = 1000
NEWEST_FIRST: Final = Keyset([reviews.c.id], descending=True)
COUNTS: Final = (
    sa.func.count().label("reviews"),
    sa.func.count().filter(reviews.c.score >= WORST_PROMOTER).label("promoters"),
    sa.func.count().filter(reviews.c.score <= BEST_DETRACTOR).label("detractors"),
)


class Review(BaseModel):
    """One answer to the NPS question."""

    id: UUID
    customer_id: UUID
    receipt_id: str
    store_id: str
    score: int
    left_at: datetime
    comment: str | None = Field(description="Null where there is none, or its writer was erased.")
    commented_at: datetime | None


class Nps(BaseModel):
    """How many recommend us, less how many do not."""

    reviews: int
    promoters: int = Field(description="Those with 9 and 10.")
    passives: int = Field(description="Those with 7 and 8.")
    detractors: int = Field(description="Those with 0 to 6.")
    nps: float | None = Field(
        description="Per cent of promoters less per cent of detractors, -100 to 100; null without reviews."
    )


class StoreNps(Nps):
    """The figure of one store."""

    store_id: str


class NpsReport(BaseModel):
    """The figure over everything that was asked for, and of each store."""

    total: Nps
    stores: list[StoreNps] = Field(description="Those with the most reviews first, a thousand at most.")


@dataclass(frozen=True)
class ReviewFilter:
    """Which reviews; each condition narrows."""

    store_id: str | None
    period: PeriodAsked
    score_from: int = 0
    score_to: int = 10

    @property
    def conditions(self) -> Sequence[sa.ColumnElement[bool]]:
        """For a WHERE."""
        conditions: list[sa.ColumnElement[bool]] = [
            reviews.c.score.between(self.score_from, self.score_to),
            *self.period.holds(reviews.c.left_at),
        ]
        if self.store_id is not None:
            conditions.append(reviews.c.store_id == self.store_id)
        return conditions


async def page_of_reviews(tx: Transaction, asked: PageAsked, wanted: ReviewFilter) -> Page[Review]:
    """The newest question first."""
    rows, cursor = await NEWEST_FIRST.page(tx, sa.select(reviews).where(*wanted.conditions), asked)
    return Page(items=[Review.model_validate(row, from_attributes=True) for row in rows], next=cursor)


async def nps_report(tx: Transaction, wanted: ReviewFilter) -> NpsReport:
    """The figure of the reviews that were left within the period, at the store or at all of them."""
    chosen = [*wanted.conditions]
    total = (await tx.execute(sa.select(*COUNTS).where(*chosen))).one()
    by_store = (
        sa.select(reviews.c.store_id, *COUNTS)
        .where(*chosen)
        .group_by(reviews.c.store_id)
        .order_by(sa.desc("reviews"), reviews.c.store_id)
        .limit(STORES_MAX)
    )
    stores = (await tx.execute(by_store)).all()
    return NpsReport(
        total=Nps(**counts(total)), stores=[StoreNps(store_id=row.store_id, **counts(row)) for row in stores]
    )


def counts(row: Any) -> dict[str, Any]:
    """The fields of `Nps` out of a row of `COUNTS`."""
    return {
        "reviews": row.reviews,
        "promoters": row.promoters,
        "passives": row.reviews - row.promoters - row.detractors,
        "detractors": row.detractors,
        "nps": nps_of(row.reviews, row.promoters, row.detractors),
    }


def nps_of(reviews: int, promoters: int, detractors: int) -> float | None:
    """Net promoter score, per cent, one decimal; None without reviews."""
    return round(100 * (promoters - detractors) / reviews, 1) if reviews else None
