"""The proof of the ledger over HTTP: its own laws, and what it has of each store and day."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import Query
from pydantic import BaseModel, Field

from chassis.pagination import Keyset, Page, Paging
from chassis.problems import Problem
from chassis.request_transaction import Tx, service_router
from chassis.transaction import Transaction
from chassis.waiting import without_phone
from contracts.fields import ReceiptId, StoreId
from services.loyalty import reconciliation, store_days
from services.loyalty.documents import DifferenceOut, Reconciliation
from services.loyalty.purchases import BEFORE_LEDGER
from services.loyalty.tables import operations, purchases
from services.loyalty.terms import terms_now

router = service_router(prefix="/reconciliation", tags=["reconciliation"])

DAYS_MAX: Final = 31
ASKED_MAX: Final = 50
SOLD: Final = (
    sa.select(
        purchases.c.receipt_id,
        purchases.c.store_id,
        purchases.c.completed_at,
        purchases.c.total_minor,
        purchases.c.content_hash,
        operations.c.entered_at,
    )
    .join_from(purchases, operations, operations.c.id == purchases.c.operation_id)
    .where(purchases.c.state.not_in(BEFORE_LEDGER))
)
HASH: Final = Field(description="Signed 64-bit BLAKE2b of the record's bytes.", examples=["-4611686018427387904"])
Place = Annotated[str, Field(pattern=r"^\d{1,9}:\d{1,18}$", examples=["3:1204"])]


class StoreDayOut(BaseModel):
    """What the ledger has of one store, day and currency."""

    day: date
    store_id: str
    currency: str
    receipts: int
    total_minor: int
    points: int = Field(description="Points that they earned.")
    points_paid: int = Field(description="Points that they were paid with.")
    digest: str = Field(description="Sum of the receipts' content hashes.")
    returns: int = Field(description="Returns and cancellations of these receipts, whenever they came back.")
    returned_minor: int
    points_taken_back: int
    points_refunded: int
    returns_digest: str = Field(description="Sum of the returns' content hashes.")


class StoreDaysOut(BaseModel):
    """What the ledger has of stores and days."""

    time_zone: str = Field(description="In which the days are, of the programme's terms.")
    items: list[StoreDayOut]


class KeptReturnOut(BaseModel):
    """A return or cancellation that is in the ledger."""

    return_id: str
    store_id: str | None = Field(description="Where it came back; it is counted with its receipt all the same.")
    terminal_id: str | None
    total_minor: int
    content_hash: str = HASH
    entered_at: datetime


class KeptReceiptOut(BaseModel):
    """A receipt that is in the ledger."""

    receipt_id: str
    store_id: str
    day: date
    total_minor: int
    content_hash: str = HASH
    entered_at: datetime
    returns: list[KeptReturnOut]


class WaitingRecordOut(BaseModel):
    """A published record that waits."""

    partition: int
    offset: int
    awaits: str
    since: datetime


class DeadRecordOut(BaseModel):
    """A published record that became a dead letter."""

    partition: int
    offset: int
    reason: str
    detail: str
    state: str
    died_at: datetime


class WhereOut(BaseModel):
    """Where receipts and records are; what is in none of the lists is nowhere."""

    receipts: list[KeptReceiptOut]
    waiting: list[WaitingRecordOut]
    dead_letters: list[DeadRecordOut]


@router.get("")
async def reconcile(tx: Tx, most: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> Reconciliation:
    """Prove the ledger over the whole database; `differences` names each place where a law is broken."""
    counted = (await tx.execute(sa.select(sa.func.count()).select_from(operations))).scalar_one()
    found = await reconciliation.differences(tx, most=most)
    return Reconciliation(operations=counted, differences=[DifferenceOut(**each._asdict()) for each in found])


@router.get("/stores")
async def list_store_days(
    tx: Tx,
    first: Annotated[date, Query(alias="from", description="The first day.")],
    last: Annotated[date, Query(alias="to", description="The last day.")],
    store_id: Annotated[StoreId | None, Query()] = None,
) -> StoreDaysOut:
    """What the ledger has by day of completion and store, at most 31 days."""
    if not 0 <= (last - first).days < DAYS_MAX:
        raise Problem(
            422, "bad_days", "Name the days from the first to the last, {most} at most.", most=DAYS_MAX, field="to"
        )
    time_zone = (await terms_now(tx)).time_zone
    rows = await store_days.sums(tx, first, last, store_id, time_zone)
    return StoreDaysOut(time_zone=time_zone, items=[StoreDayOut(**row) for row in rows])


@router.get("/receipts")
async def list_receipts(
    tx: Tx, paging: Paging, day: date, store_id: Annotated[StoreId, Query()]
) -> Page[KeptReceiptOut]:
    """The receipts of one store that were completed on one day, by their ids."""
    time_zone = (await terms_now(tx)).time_zone
    begin, end = store_days.bounds(day, day, time_zone)
    of_day = SOLD.where(purchases.c.at >= begin, purchases.c.at < end, purchases.c.store_id == store_id)
    rows, following = await Keyset([purchases.c.receipt_id]).page(tx, of_day, paging)
    return Page(items=await _kept(tx, rows, time_zone), next=following)


@router.get("/records")
async def find_records(
    tx: Tx,
    receipt_id: Annotated[list[ReceiptId], Query(max_length=ASKED_MAX)] = [],  # noqa: B006 (FastAPI copies it)
    place: Annotated[
        list[Place], Query(max_length=ASKED_MAX, description="Places on `pos.purchases`: `<partition>:<offset>`.")
    ] = [],  # noqa: B006
) -> WhereOut:
    """Where these receipts and published records are, all at one moment: in the ledger, waiting, or dead letters."""
    rows = await store_days.receipts(tx, receipt_id)
    places = [(int(partition), int(offset)) for partition, _, offset in (each.partition(":") for each in place)]
    waiting = await store_days.waiting_at(tx, places)
    return WhereOut(
        receipts=await _kept(tx, rows, (await terms_now(tx)).time_zone),
        waiting=[WaitingRecordOut(**{**row, "awaits": without_phone(row.awaits)}) for row in waiting],
        dead_letters=[DeadRecordOut(**row) for row in await store_days.dead_at(tx, places)],
    )


async def _kept(tx: Transaction, rows: Sequence[Any], time_zone: str) -> list[KeptReceiptOut]:
    zone = ZoneInfo(time_zone)
    returns = await store_days.returns_of(tx, [row.receipt_id for row in rows])
    return [
        KeptReceiptOut(
            receipt_id=row.receipt_id,
            store_id=row.store_id,
            day=row.completed_at.astimezone(zone).date(),
            total_minor=row.total_minor,
            content_hash=str(row.content_hash),
            entered_at=row.entered_at,
            returns=[
                KeptReturnOut(**{**each, "content_hash": str(each.content_hash)})
                for each in returns.get(row.receipt_id, ())
            ],
        )
        for row in rows
    ]
