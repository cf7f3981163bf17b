"""The row of each customer: the lock that everything else about a customer is written under."""

from collections.abc import Collection
from uuid import UUID

from chassis.transaction import Transaction

LOCK = """
INSERT INTO features (customer_id, changed_at)
SELECT customer_id, $2 FROM unnest($1::uuid[]) AS heard (customer_id) ORDER BY customer_id
ON CONFLICT (customer_id) DO UPDATE SET changed_at = excluded.changed_at WHERE features.erased_at IS NULL
RETURNING customer_id
"""


async def lock_customers(tx: Transaction, customer_ids: Collection[UUID]) -> set[UUID]:
    """Lock the customers' rows, made where they are missing, and give those who have not been erased.

    A statement of its own, in the order of the ids: what follows has a snapshot that is younger than the locks.
    """
    return {customer_id for (customer_id,) in await tx.sql(LOCK, list(customer_ids), tx.now)}
