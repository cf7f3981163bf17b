"""Feedback's HTTP API: reviews and the NPS figure, appeals and their answers, what one customer told us."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Query
from pydantic import BaseModel, StringConstraints

from chassis.http import Tx, service_router
from chassis.pagination import Page, Paging
from chassis.periods import Period
from services.feedback import appeal_list, customer_summary, review_list
from services.feedback.appeal_list import Appeal, State
from services.feedback.appeals import ANSWER_MAX_CHARS, answer_appeal
from services.feedback.customer_summary import CustomerSummary
from services.feedback.review_list import NpsReport, Review, ReviewFilter

router = service_router(tags=["feedback"])

StoreAsked = Annotated[str | None, Query(max_length=64, description="The chain's code of one store.")]


async def _reviews_asked(
    period: Period,
    store_id: StoreAsked = None,
    score_from: Annotated[int, Query(ge=0, le=10, description="The lowest score.")] = 0,
    score_to: Annotated[int, Query(ge=0, le=10, description="The highest score.")] = 10,
) -> ReviewFilter:
    return ReviewFilter(store_id, period, score_from, score_to)


async def _of_period(period: Period, store_id: StoreAsked = None) -> ReviewFilter:
    return ReviewFilter(store_id, period)


class Answer(BaseModel):
    """What the customer is told."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=ANSWER_MAX_CHARS)]


class Answered(BaseModel):
    """The answer is on its way to the chat; GET /appeals/{id} tells whether it arrived."""

    id: UUID
    state: State


@router.get("/reviews")
async def list_reviews(
    tx: Tx, paging: Paging, wanted: Annotated[ReviewFilter, Depends(_reviews_asked)]
) -> Page[Review]:
    """Answers to the NPS question, the newest question first."""
    return await review_list.page_of_reviews(tx, paging, wanted)


@router.get("/reviews/nps")
async def show_nps(tx: Tx, wanted: Annotated[ReviewFilter, Depends(_of_period)]) -> NpsReport:
    """The NPS figure of a period, at one store or at all, and store by store."""
    return await review_list.nps_report(tx, wanted)


@router.get("/appeals")
async def list_appeals(
    tx: Tx,
    paging: Paging,
    state: Annotated[State | None, Query(description="Only open ones, or only answered ones.")] = None,
    customer_id: Annotated[UUID | None, Query(description="Only this customer's.")] = None,
) -> Page[Appeal]:
    """Open appeals with the one that waits longest first; else the newest first."""
    return await appeal_list.page_of_appeals(tx, paging, state=state, customer_id=customer_id)


@router.get("/appeals/{appeal_id}")
async def show_appeal(tx: Tx, appeal_id: Annotated[UUID, Path(description="The appeal.")]) -> Appeal:
    """One appeal, with its answer and whether that arrived."""
    return await appeal_list.one_appeal(tx, appeal_id)


@router.post("/appeals/{appeal_id}/answer", status_code=202)
async def answer(tx: Tx, appeal_id: Annotated[UUID, Path(description="The appeal.")], given: Answer) -> Answered:
    """Answer an appeal, once: the words go to the chat that it came from."""
    await answer_appeal(tx, appeal_id, given.text)
    return Answered(id=appeal_id, state="answered")


@router.get("/customers/{customer_id}")
async def show_customer(tx: Tx, customer_id: Annotated[UUID, Path(description="The customer.")]) -> CustomerSummary:
    """What one customer told us: reviews and appeals, the newest ten of each."""
    return await customer_summary.customer_summary(tx, customer_id)
