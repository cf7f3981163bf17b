"""The 5 × 5 RFM matrix of the last recomputation, and its sums by segment."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_args

import sqlalchemy as sa
from pydantic import BaseModel, Field

from chassis.transaction import Transaction
from contracts.segmentation import RfmSegment
from services.segmentation.rfm import segment
from services.segmentation.tables import rfm_cells
from services.segmentation.window import window_days


class Sums(BaseModel):
    """How many customers, and what they bought within the window."""

    segment: RfmSegment
    customers: int
    purchases: int
    spent_minor: dict[str, int] = Field(
        description="Paid less returned, smallest unit, by currency.", examples=[{"RUB": 114000}]
    )


class Cell(Sums):
    """One cell of the matrix; scores from 1 to 5, 5 best."""

    recency: int
    frequency: int


class Matrix(BaseModel):
    """Everybody who bought within the window, as of the last recomputation."""

    scored_at: datetime | None = Field(description="Null before the first recomputation.")
    window_days: int = Field(examples=[365])
    customers: int
    segments: list[Sums] = Field(description="All ten, the empty ones too.")
    cells: list[Cell] = Field(description="All 25, by recency and frequency, best first.")


async def rfm_matrix(tx: Transaction) -> Matrix:
    rows = {(row.recency, row.frequency): row for row in await tx.execute(sa.select(rfm_cells))}
    cells = [_cell(r, f, rows.get((r, f))) for r in range(5, 0, -1) for f in range(5, 0, -1)]
    newest = next(iter(rows.values()), None)
    return Matrix(
        scored_at=newest.scored_at if newest is not None else None,
        window_days=newest.window_days if newest is not None else await window_days(tx),
        customers=sum(cell.customers for cell in cells),
        segments=[_sums(name, [cell for cell in cells if cell.segment == name]) for name in get_args(RfmSegment)],
        cells=cells,
    )


def _cell(recency: int, frequency: int, row: sa.Row[Any] | None) -> Cell:
    return Cell(
        recency=recency,
        frequency=frequency,
        segment=segment(recency, frequency),
        customers=row.customers if row is not None else 0,
        purchases=row.purchases if row is not None else 0,
        spent_minor=row.spent if row is not None else {},
    )


def _sums(name: RfmSegment, cells: Sequence[Cell]) -> Sums:
    spent: Counter[str] = Counter()
    for cell in cells:
        spent.update(cell.spent_minor)
    return Sums(
        segment=name,
        customers=sum(cell.customers for cell in cells),
        purchases=sum(cell.purchases for cell in cells),
        spent_minor=dict(spent),
    )
