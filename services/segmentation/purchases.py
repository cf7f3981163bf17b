"""Counting purchases into the features of their customers, each receipt once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from chassis.transaction import Transaction
from contracts.loyalty import PointsAccrued
from services.segmentation.customers import lock_customers
from services.segmentation.totals import Totals

ENTER = """
WITH heard AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[], $7::bigint[])
         AS heard (customer_id, receipt_id, operation_id, store_id, completed_at, currency, total_minor)
), came_back AS (
    SELECT customer_id, receipt_id, sum(returns.total_minor)::bigint AS returned_minor,
           bool_or(cause = 'cancellation') AS cancelled
    FROM heard JOIN returns USING (customer_id, receipt_id)
    GROUP BY customer_id, receipt_id
)
INSERT INTO purchases (customer_id, receipt_id, operation_id, store_id, completed_at, currency, total_minor,
                       returned_minor, cancelled, rejected)
SELECT customer_id, receipt_id, operation_id, store_id, completed_at, currency, total_minor,
       coalesce(returned_minor, 0), coalesce(cancelled, false), review_id IS NOT NULL
FROM heard LEFT JOIN came_back USING (customer_id, receipt_id) LEFT JOIN rejections USING (customer_id, receipt_id)
ON CONFLICT (customer_id, receipt_id) DO NOTHING
RETURNING customer_id, receipt_id, returned_minor, counts, rejected
"""
COUNT = """
UPDATE features SET
    purchases = features.purchases + counted.purchases,
    first_purchase_at = least(features.first_purchase_at, counted.first_at),
    last_purchase_at = greatest(features.last_purchase_at, counted.last_at)
FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::timestamptz[])
     AS counted (customer_id, purchases, first_at, last_at)
WHERE features.customer_id = counted.customer_id
"""


async def count_purchases(tx: Transaction, accrued: Sequence[PointsAccrued]) -> None:
    """Count each receipt that was not counted before.

    A receipt is one purchase however many accounts it earned points on: later operations of the same one, and
    replays, change nothing. Returns that came before their purchase are taken off at once; one that was rejected before
    it came is kept and never counted.
    """
    customers = await lock_customers(tx, {event.customer_id for event in accrued})
    heard: dict[tuple[UUID, str], PointsAccrued] = {}
    for event in accrued:
        if event.customer_id in customers:
            heard.setdefault((event.customer_id, event.receipt_id), event)
    entered = await _enter(tx, list(heard.values()))
    totals = Totals()
    for customer_id, receipt_id, returned_minor, counts, rejected in entered:
        if rejected:
            continue
        event = heard[customer_id, receipt_id]
        currency = event.currency
        totals.add_money(customer_id, currency, purchases=counts, paid=event.total_minor)
        totals.add_store(
            customer_id, currency, event.store_id, purchases=counts, total=event.total_minor - returned_minor
        )
        totals.add_categories(customer_id, currency, event.categories, sign=1)
    await _count(tx, (heard[customer_id, receipt_id] for customer_id, receipt_id, _, counts, _ in entered if counts))
    await totals.write(tx)


async def _enter(tx: Transaction, heard: Sequence[PointsAccrued]) -> Sequence[tuple[UUID, str, int, bool, bool]]:
    """The new ones of them.

    Customer, receipt, what has come back of it already, whether anything is left of it, whether it was rejected.
    """
    if not heard:
        return []
    rows = await tx.sql(
        ENTER,
        [event.customer_id for event in heard],
        [event.receipt_id for event in heard],
        [event.operation_id for event in heard],
        [event.store_id for event in heard],
        [event.completed_at for event in heard],
        [event.currency for event in heard],
        [event.total_minor for event in heard],
    )
    return [tuple(row) for row in rows]


async def _count(tx: Transaction, purchases: Iterable[PointsAccrued]) -> None:
    moments: dict[UUID, list[datetime]] = defaultdict(list)
    for event in purchases:
        moments[event.customer_id].append(event.completed_at)
    if moments:
        await tx.sql(
            COUNT,
            list(moments),
            [len(each) for each in moments.values()],
            [min(each) for each in moments.values()],
            [max(each) for each in moments.values()],
        )
