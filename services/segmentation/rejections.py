"""Purchases that were rejected in a review: they are taken out of everything that counts, with what came back of them.

A rejection is for ever; there may be several of one receipt, one a limit.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from uuid import UUID

from chassis.transaction import Transaction
from contracts.limits import ReviewDecided
from contracts.loyalty import CategoryTotal
from services.segmentation.customers import lock_customers
from services.segmentation.returns import count_returns, uncount_purchases
from services.segmentation.totals import Totals

Receipt = tuple[UUID, str]
ENTER = """
INSERT INTO rejections (customer_id, receipt_id, review_id, decided_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[])
ON CONFLICT (customer_id, receipt_id) DO NOTHING
RETURNING customer_id, receipt_id
"""
STRIKE = """
UPDATE purchases SET rejected = true
FROM unnest($1::uuid[], $2::text[]) AS rejected (customer_id, receipt_id)
     JOIN purchases AS before USING (customer_id, receipt_id)
WHERE purchases.customer_id = rejected.customer_id AND purchases.receipt_id = rejected.receipt_id
RETURNING purchases.customer_id, purchases.receipt_id, purchases.currency, purchases.store_id, purchases.total_minor,
          purchases.returned_minor, before.counts
"""
CAME_BACK = """
SELECT customer_id, cause, currency, total_minor, categories
FROM returns JOIN unnest($1::uuid[], $2::text[]) AS rejected (customer_id, receipt_id) USING (customer_id, receipt_id)
"""


async def reject_purchases(tx: Transaction, decided: Sequence[ReviewDecided]) -> None:
    """Take each purchase that is rejected out of the sums, if it was not before, with what has come back of it.

    One that is not known yet will not be counted when it comes (`purchases.py`), nor what comes back of it later
    (`returns.py`). The event names the record that had bought, as the purchase did, whoever is whose survivor now.
    """
    rejected = [event for event in decided if event.rejected_categories is not None]
    customers = await lock_customers(tx, {event.customer_id for event in rejected})
    heard = {(event.customer_id, event.receipt_id): event for event in rejected if event.customer_id in customers}
    entered = await _enter(tx, heard.values())
    if not entered:
        return
    totals = Totals()
    named = [customer_id for customer_id, _ in entered], [receipt_id for _, receipt_id in entered]
    counted: Counter[UUID] = Counter()
    for each in await tx.sql(STRIKE, *named):
        counted[each.customer_id] += each.counts
        totals.add_money(each.customer_id, each.currency, purchases=-each.counts, paid=-each.total_minor)
        left = each.total_minor - each.returned_minor
        totals.add_store(each.customer_id, each.currency, each.store_id, purchases=-each.counts, total=-left)
        categories = heard[each.customer_id, each.receipt_id].rejected_categories or []
        totals.add_categories(each.customer_id, each.currency, categories, sign=-1)
    came_back = await tx.sql(CAME_BACK, *named)
    for each in came_back:
        totals.add_money(each.customer_id, each.currency, returned=-each.total_minor)
        categories = [CategoryTotal(category=name, total_minor=total) for name, total in each.categories.items()]
        totals.add_categories(each.customer_id, each.currency, categories, sign=1)
    await count_returns(tx, [(each.customer_id, each.cause) for each in came_back], -1)
    await uncount_purchases(tx, +counted)
    await totals.write(tx)


async def _enter(tx: Transaction, heard: Collection[ReviewDecided]) -> list[Receipt]:
    """The new ones of them."""
    if not heard:
        return []
    rows = await tx.sql(
        ENTER,
        [event.customer_id for event in heard],
        [event.receipt_id for event in heard],
        [event.review_id for event in heard],
        [event.decided_at for event in heard],
    )
    return [(row.customer_id, row.receipt_id) for row in rows]
