"""Taking back what came back: exactly the money that was given back, and the purchase once nothing is left of it."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from chassis.transaction import Transaction
from contracts.loyalty import PointsReturned
from services.segmentation.customers import lock_customers
from services.segmentation.totals import Totals

ENTER = """
INSERT INTO returns (customer_id, return_id, cause, operation_id, receipt_id, returned_at, currency, total_minor)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::text[],
                     $8::bigint[])
ON CONFLICT (customer_id, return_id, cause) DO NOTHING
RETURNING customer_id, return_id, cause
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
    when the purchase comes (`purchases.py`).
    """
    customers = await lock_customers(tx, {event.customer_id for event in returned})
    heard: dict[tuple[UUID, str, str], PointsReturned] = {}
    for event in returned:
        if event.customer_id in customers:
            heard.setdefault((event.customer_id, event.return_id, event.cause), event)
    entered = [heard[key] for key in await _enter(tx, list(heard.values()))]
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
    await _count(tx, entered)
    await _uncount(tx, Counter(each.customer_id for each in taken_off if each.undone))
    await totals.write(tx)


async def _enter(tx: Transaction, heard: Collection[PointsReturned]) -> Sequence[tuple[UUID, str, str]]:
    """The new ones of them."""
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
    )
    return [tuple(row) for row in rows]


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


async def _count(tx: Transaction, entered: Collection[PointsReturned]) -> None:
    returns = Counter(event.customer_id for event in entered if event.cause == "return")
    cancellations = Counter(event.customer_id for event in entered if event.cause == "cancellation")
    customers = list(returns.keys() | cancellations.keys())
    await tx.sql(COUNT, customers, [returns[each] for each in customers], [cancellations[each] for each in customers])


async def _uncount(tx: Transaction, undone: Counter[UUID]) -> None:
    if undone:
        await tx.sql(UNCOUNT, list(undone), list(undone.values()))
