"""Taking back what came back: exactly the money that was given back, and the purchase once nothing is left of it."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

import orjson

from chassis.transaction import Transaction
from contracts.loyalty import PointsReturned
from services.segmentation.customers import lock_customers
from services.segmentation.totals import Totals

ENTER = """
INSERT INTO returns (customer_id, return_id, cause, operation_id, receipt_id, returned_at, currency, total_minor,
                     categories)
SELECT customer_id, return_id, cause, operation_id, receipt_id, returned_at, currency, total_minor, categories::jsonb
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::text[], $8::bigint[],
            $9::text[])
     AS heard (customer_id, return_id, cause, operation_id, receipt_id, returned_at, currency, total_minor, categories)
ON CONFLICT (customer_id, return_id, cause) DO NOTHING
RETURNING customer_id, return_id, cause,
          EXISTS (SELECT FROM rejections WHERE rejections.customer_id = returns.customer_id
                                           AND rejections.receipt_id = returns.receipt_id) AS rejected
"""
TAKE_OFF = """
UPDATE purchases SET
    returned_minor = purchases.returned_minor + back.total_minor,
    cancelled = purchases.cancelled OR back.cancelled
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bool[]) AS back (customer_id, receipt_id, total_minor, cancelled)
     JOIN purchases AS before USING (customer_id, receipt_id)
WHERE purchases.customer_id = back.customer_id AND purchases.receipt_id = back.receipt_id
RETURNING purchases.customer_id, purchases.currency, purchases.store_id, back.total_minor,
          before.counts AND NOT purchases.counts AS undone
"""
COUNT = """
UPDATE features SET
    returns = features.returns + counted.returns,
    cancellations = features.cancellations + counted.cancellations
FROM unnest($1::uuid[], $2::int[], $3::int[]) AS counted (customer_id, returns, cancellations)
WHERE features.customer_id = counted.customer_id
"""
UNCOUNT = """
UPDATE features SET
    purchases = features.purchases - undone.purchases,
    first_purchase_at = left_over.first_at,
    last_purchase_at = left_over.last_at
FROM unnest($1::uuid[], $2::int[]) AS undone (customer_id, purchases)
     CROSS JOIN LATERAL (
         SELECT min(completed_at) AS first_at, max(completed_at) AS last_at
         FROM purchases WHERE purchases.customer_id = undone.customer_id AND counts
     ) AS left_over
WHERE features.customer_id = undone.customer_id
"""


class TakenOff(NamedTuple):
    """A purchase of which something came back."""

    customer_id: UUID
    currency: str
    store_id: str
    total_minor: int
    undone: bool
    """Nothing is left of it since just now."""


async def take_back_returns(tx: Transaction, returned: Sequence[PointsReturned]) -> None:
    """Take off each return and cancellation that was not taken off before.

    Where its purchase is not known yet, the money is taken off the customer now, and off the receipt and its store
    when the purchase comes (`purchases.py`). Of one that was rejected nothing is left to be taken off: what comes back
    of it is kept and not counted.
    """
    customers = await lock_customers(tx, {event.customer_id for event in returned})
    heard: dict[tuple[UUID, str, str], PointsReturned] = {}
    for event in returned:
        if event.customer_id in customers:
            heard.setdefault((event.customer_id, event.return_id, event.cause), event)
    entered = [heard[key] for key, rejected in await _enter(tx, list(heard.values())) if not rejected]
    if not entered:
        return
    totals = Totals()
    for event in entered:
        totals.add_money(event.customer_id, event.currency, returned=event.total_minor)
        totals.add_categories(event.customer_id, event.currency, event.categories, sign=-1)
    taken_off = await _take_off(tx, entered)
    for each in taken_off:
        totals.add_money(each.customer_id, each.currency, purchases=-each.undone)
        totals.add_store(
            each.customer_id, each.currency, each.store_id, purchases=-each.undone, total=-each.total_minor
        )
    await count_returns(tx, [(event.customer_id, event.cause) for event in entered])
    await uncount_purchases(tx, Counter(each.customer_id for each in taken_off if each.undone))
    await totals.write(tx)


async def _enter(tx: Transaction, heard: Collection[PointsReturned]) -> list[tuple[tuple[UUID, str, str], bool]]:
    """The new ones of them, and whether the purchase was rejected."""
    if not heard:
        return []
    rows = await tx.sql(
        ENTER,
        [event.customer_id for event in heard],
        [event.return_id for event in heard],
        [event.cause for event in heard],
        [event.operation_id for event in heard],
        [event.receipt_id for event in heard],
        [event.returned_at for event in heard],
        [event.currency for event in heard],
        [event.total_minor for event in heard],
        [orjson.dumps({each.category: each.total_minor for each in event.categories}).decode() for event in heard],
    )
    return [((row.customer_id, row.return_id, row.cause), row.rejected) for row in rows]


async def _take_off(tx: Transaction, entered: Collection[PointsReturned]) -> list[TakenOff]:
    """One row a receipt that is known; several returns of one come as their sum."""
    total_minor: Counter[tuple[UUID, str]] = Counter()
    cancelled: set[tuple[UUID, str]] = set()
    for event in entered:
        receipt = (event.customer_id, event.receipt_id)
        total_minor[receipt] += event.total_minor
        if event.cause == "cancellation":
            cancelled.add(receipt)
    rows = await tx.sql(
        TAKE_OFF,
        [customer_id for customer_id, _ in total_minor],
        [receipt_id for _, receipt_id in total_minor],
        list(total_minor.values()),
        [receipt in cancelled for receipt in total_minor],
    )
    return [TakenOff._make(row) for row in rows]


async def count_returns(tx: Transaction, came_back: Collection[tuple[UUID, str]], sign: int = 1) -> None:
    """Count (with -1: no longer) returns and cancellations, named by customer and cause."""
    counts = {cause: Counter(each for each, why in came_back if why == cause) for cause in ("return", "cancellation")}
    customers = list({customer_id for customer_id, _ in came_back})
    if customers:
        await tx.sql(COUNT, customers, *([sign * count[each] for each in customers] for count in counts.values()))


async def uncount_purchases(tx: Transaction, undone: Counter[UUID]) -> None:
    """So many purchases of each customer count no longer; the first and the last are those that are left."""
    if undone:
        await tx.sql(UNCOUNT, list(undone), list(undone.values()))
