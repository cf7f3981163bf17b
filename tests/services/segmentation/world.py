"""A segmentation service without a bus: it hears records as they come off a topic, and what it says is looked up."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa

from chassis.database import Database
from chassis.dead_letters import Cap
from chassis.delivery import Delivery
from chassis.ids import new_id
from chassis.jobs import Job, run_job
from chassis.settings import Settings
from contracts.loyalty import CategoryTotal, PointsAccrued, PointsReturned
from contracts.records import Record
from contracts.segmentation import RfmMoved
from services.segmentation.handlers import hears
from services.segmentation.recompute import recompute_rfm
from tests.harness import until
from tests.off_the_bus import came, said

NOW = datetime(2025, 11, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
RECOMPUTE = Job(recompute_rfm, every=DAY)

_numbers = itertools.count(1)


class Segmentation:
    """One instance of the service; several share the database of their settings. Its clock stands until it is set."""

    def __init__(self, settings: Settings) -> None:
        self.now = NOW
        self.database = Database("segmentation", settings, clock=lambda: self.now)
        self._batches = Database("segmentation", settings, clock=lambda: self.now, for_batches=True)
        self.delivery = Delivery("segmentation", hears, self._batches, cap=Cap(0, DAY))

    async def hear(self, *records: Record) -> None:
        """One batch; each record is an event of its own, even where the same was heard before."""
        await self.delivery.deliver([came(record, NOW) for record in records])

    async def recompute(self) -> None:
        await run_job(RECOMPUTE, self.database)

    async def said(self) -> list[RfmMoved]:
        """Everything that was ever said, oldest first: no relay takes it away."""
        rows = await self.rows("SELECT topic, key, headers, value FROM outbox ORDER BY id")
        return [cast(RfmMoved, said(SimpleNamespace(**row))) for row in rows]

    async def rows(self, statement: str, **values: object) -> Sequence[sa.RowMapping]:
        async with self.database.engine.connect() as connection:
            return (await connection.execute(sa.text(statement), values)).mappings().all()

    async def one(self, statement: str, **values: object) -> dict[str, Any]:
        (row,) = await self.rows(statement, **values)
        return dict(row)

    async def until_blocked(self, task: asyncio.Task[Any]) -> None:
        """Wait until somebody waits for a lock in this database, or the task that should has ended without."""
        waits = (
            "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )

        async def is_so() -> bool:
            return task.done() or bool((await self.one(waits))["n"])

        await until(is_so, what="a lock is waited for")

    async def close(self) -> None:
        await self.database.close()
        await self._batches.close()


OpenSegmentation = Callable[[], Segmentation]


def accrued(
    customer_id: UUID,
    total_minor: int = 10_000,
    *,
    at: datetime = NOW - DAY,
    receipt: str | None = None,
    store: str = "367",
    currency: str = "RUB",
    categories: dict[str, int] | None = None,
    holder: UUID | None = None,
) -> PointsAccrued:
    """A purchase of the customer, by their own account or by that of their family's `holder`."""
    return PointsAccrued(
        operation_id=new_id(),
        customer_id=holder or customer_id,
        buyer_id=customer_id if holder else None,
        account_id=holder or customer_id,
        points_currency="points",
        balance_after=0,
        points=total_minor // 2000,
        receipt_id=receipt or f"r{next(_numbers)}",
        store_id=store,
        terminal_id=f"{store}-01",
        completed_at=at,
        currency=currency,
        total_minor=total_minor,
        categories=_categories(categories),
    )


def came_back(
    purchase: PointsAccrued,
    total_minor: int | None = None,
    *,
    store: str | None = None,
    categories: dict[str, int] | None = None,
    return_id: str | None = None,
) -> PointsReturned:
    """A return of so much of the purchase; of all of it where no sum is named."""
    return PointsReturned(
        operation_id=new_id(),
        customer_id=purchase.customer_id,
        buyer_id=purchase.buyer_id,
        account_id=purchase.account_id,
        points_currency="points",
        balance_after=0,
        points=0,
        cause="return",
        return_id=return_id or f"b{next(_numbers)}",
        receipt_id=purchase.receipt_id,
        store_id=store or purchase.store_id,
        returned_at=purchase.completed_at + timedelta(hours=1),
        currency=purchase.currency,
        total_minor=purchase.total_minor if total_minor is None else total_minor,
        categories=_categories(categories),
    )


def cancelled(purchase: PointsAccrued) -> PointsReturned:
    back = came_back(purchase, return_id=purchase.receipt_id)
    return back.model_copy(update={"cause": "cancellation", "categories": purchase.categories})


def ids(count: int) -> list[UUID]:
    return [new_id() for _ in range(count)]


def batches(records: Sequence[Record], size: int) -> Iterable[Sequence[Record]]:
    return (records[start : start + size] for start in range(0, len(records), size))


def _categories(totals: dict[str, int] | None) -> list[CategoryTotal]:
    return [CategoryTotal(category=name, total_minor=total) for name, total in (totals or {}).items()]
