"""Merged customers: the records of one person are one customer to whoever looks, and two again where that was undone.

Facts and sums stay with the record that they were heard of, so that undoing a merge moves nothing; they are put
together where they are read. A return of what a merged record bought is heard of its survivor, and is the record's.
What is heard of a family's account is the member's who bought.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from chassis.transaction import Transaction
from contracts.customers import CustomersMerged, CustomersUnmerged
from contracts.loyalty import PointsAccrued, PointsReturned
from services.segmentation.customers import lock_customers

OfPurchase = TypeVar("OfPurchase", PointsAccrued, PointsReturned)

MERGE = """
INSERT INTO merges (merged_id, survivor_id, changed_at, stands) VALUES ($1, $2, $3, $4)
ON CONFLICT (merged_id, survivor_id) DO UPDATE SET changed_at = excluded.changed_at, stands = excluded.stands
WHERE merges.changed_at < excluded.changed_at
"""
SURVIVORS = """
SELECT DISTINCT ON (merged_id) merged_id, survivor_id FROM merges WHERE stands ORDER BY merged_id, changed_at DESC
"""
"""Into whom each record is merged now; part of other statements. A record that is merged again elsewhere may for a
moment stand twice, for the two are told on different keys: the later one counts."""
PARTS = f"SELECT merged_id FROM ({SURVIVORS}) AS survivors WHERE survivor_id = $1"  # noqa: S608 (a constant)
BOUGHT_BY = """
SELECT asked.buyer_id, asked.receipt_id, purchases.customer_id AS record_id
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS asked (buyer_id, holder_id, receipt_id)
     CROSS JOIN LATERAL (
         SELECT asked.buyer_id UNION SELECT asked.holder_id
         UNION SELECT merged_id FROM merges WHERE survivor_id IN (asked.buyer_id, asked.holder_id)
     ) AS records (customer_id)
     JOIN purchases ON purchases.customer_id = records.customer_id AND purchases.receipt_id = asked.receipt_id
"""
"""Merges that were undone count too: what was heard while they stood may come again. The holder of an account counts
for what was counted with them before it was told who had bought."""


async def merge(tx: Transaction, event: CustomersMerged | CustomersUnmerged) -> None:
    """The one record is part of the other from now on, or no more. An older word than the last one changes nothing."""
    stands = isinstance(event, CustomersMerged)
    at = event.merged_at if isinstance(event, CustomersMerged) else event.unmerged_at
    if event.customer_id in await lock_customers(tx, {event.customer_id}):
        await tx.sql(MERGE, event.merged_id, event.customer_id, at, stands)


async def records_of(tx: Transaction, customer_id: UUID) -> list[UUID]:
    """The customer's own record and those that are part of it."""
    return [customer_id, *(merged_id for (merged_id,) in await tx.sql(PARTS, customer_id))]


def of_buyers(accrued: Sequence[PointsAccrued]) -> list[PointsAccrued]:
    """The purchases, each as one of who bought."""
    return [_of(event, event.bought_by) for event in accrued]


async def of_their_records(tx: Transaction, returned: Sequence[PointsReturned]) -> list[PointsReturned]:
    """The returns, each as one of the record that had bought."""
    rows = await tx.sql(
        BOUGHT_BY,
        [event.bought_by for event in returned],
        [event.customer_id for event in returned],
        [event.receipt_id for event in returned],
    )
    records: Mapping[tuple[UUID, str], UUID] = {(row.buyer_id, row.receipt_id): row.record_id for row in rows}
    return [_of(event, records.get((event.bought_by, event.receipt_id), event.bought_by)) for event in returned]


def _of(event: OfPurchase, customer_id: UUID) -> OfPurchase:
    return event if event.customer_id == customer_id else event.model_copy(update={"customer_id": customer_id})
