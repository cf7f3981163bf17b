"""Segmentation's HTTP API: a customer's features, the RFM matrix, who is in a segment and who moved."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from chassis.http import Tx, service_router
from chassis.pagination import Page, Paging
from contracts.segmentation import RfmSegment
from services.segmentation.matrix import Matrix, rfm_matrix
from services.segmentation.members import Member, members_as_csv, page_of_members
from services.segmentation.moves import Move, page_of_moves
from services.segmentation.profile import Profile, profile_of
from services.segmentation.window import Days, Window, set_window, window_history

router = service_router()

Segment = Annotated[RfmSegment, Path(description="An RFM segment.")]


class WindowWanted(BaseModel):
    """The window to set."""

    days: Days


@router.get("/customers/{customer_id}")
async def show_customer(tx: Tx, customer_id: UUID) -> Profile:
    """The customer's features, RFM, and moves between segments."""
    return await profile_of(tx, customer_id)


@router.get("/rfm")
async def show_matrix(tx: Tx) -> Matrix:
    """How many customers are in each cell and segment, and what they spent within the window."""
    return await rfm_matrix(tx)


@router.get("/rfm/moves")
async def list_moves(
    tx: Tx,
    paging: Paging,
    before: Annotated[RfmSegment | None, Query(description="Only those who left this segment.")] = None,
    after: Annotated[RfmSegment | None, Query(description="Only those who came into this segment.")] = None,
) -> Page[Move]:
    """Who moved to another segment, newest first."""
    return await page_of_moves(tx, paging, before=before, after=after)


@router.get("/rfm/window")
async def show_window(tx: Tx) -> Window:
    """How many days of purchases RFM looks at, and since when."""
    return await window_history(tx)


@router.put("/rfm/window")
async def change_window(tx: Tx, wanted: WindowWanted) -> Window:
    """Look at so many days from the next recomputation on."""
    await set_window(tx, wanted.days)
    return await window_history(tx)


@router.get("/segments/{segment}/customers")
async def list_members(tx: Tx, segment: Segment, paging: Paging) -> Page[Member]:
    """Who is in the segment, by customer id."""
    return await page_of_members(tx, segment, paging)


@router.get("/segments/{segment}/customers.csv", response_class=StreamingResponse)
async def export_members(request: Request, segment: Segment) -> StreamingResponse:
    """Who is in the segment, all of them, as CSV."""
    return StreamingResponse(
        members_as_csv(request.app.state.database, segment),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{segment}.csv"'},
    )
