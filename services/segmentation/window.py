"""How many days of purchases RFM looks at: a setting that the chain changes while it runs, with its history."""

from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from pydantic import BaseModel, Field

from chassis.transaction import Transaction
from services.segmentation.tables import rfm_windows

DEFAULT_DAYS = 365
HISTORY_MAX = 100

Days = Annotated[int, Field(ge=1, le=3650, description="Purchases of so many last days count.", examples=[365])]


class WindowSet(BaseModel):
    """The window as it was set at a moment."""

    days: Days
    since: datetime


class Window(BaseModel):
    """The window in force, and the last hundred settings of it, newest first."""

    days: Days
    history: list[WindowSet]


async def window_days(tx: Transaction) -> int:
    """The window in force now."""
    in_force = sa.select(rfm_windows.c.days).where(rfm_windows.c.since <= tx.now)
    days = (await tx.execute(in_force.order_by(rfm_windows.c.since.desc()).limit(1))).scalar()
    return DEFAULT_DAYS if days is None else int(days)


async def set_window(tx: Transaction, days: int) -> None:
    """From now on; the next recomputation goes by it."""
    upsert = sa.dialects.postgresql.insert(rfm_windows).values(since=tx.now, days=days)
    await tx.execute(upsert.on_conflict_do_update(index_elements=["since"], set_={"days": days}))


async def window_history(tx: Transaction) -> Window:
    newest_first = sa.select(rfm_windows.c.days, rfm_windows.c.since).order_by(rfm_windows.c.since.desc())
    rows = (await tx.execute(newest_first.limit(HISTORY_MAX))).all()
    history = [WindowSet(days=row.days, since=row.since) for row in rows]
    return Window(days=await window_days(tx), history=history)
