"""Forgetting a customer: everything kept of them but the id, which keeps late events from building it again."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from chassis.transaction import Transaction

MAKE = """
INSERT INTO features (customer_id, changed_at)
SELECT customer_id, $2 FROM unnest($1::uuid[]) AS erased (customer_id) ORDER BY customer_id
ON CONFLICT (customer_id) DO NOTHING
"""
LOCK = "SELECT FROM features WHERE customer_id = ANY ($1) ORDER BY customer_id FOR UPDATE"
FORGET = [
    "DELETE FROM purchases WHERE customer_id = ANY ($1)",
    "DELETE FROM returns WHERE customer_id = ANY ($1)",
    "DELETE FROM rejections WHERE customer_id = ANY ($1)",
    "DELETE FROM spending WHERE customer_id = ANY ($1)",
    "DELETE FROM store_spending WHERE customer_id = ANY ($1)",
    "DELETE FROM category_spending WHERE customer_id = ANY ($1)",
    "DELETE FROM merges WHERE merged_id = ANY ($1) OR survivor_id = ANY ($1)",
    "DELETE FROM rfm WHERE customer_id = ANY ($1)",
    "DELETE FROM rfm_moves WHERE customer_id = ANY ($1)",
]
EMPTY = """
UPDATE features SET purchases = 0, returns = 0, cancellations = 0, first_purchase_at = NULL, last_purchase_at = NULL,
                    changed_at = $3, erased_at = coalesce(features.erased_at, erased.erased_at)
FROM unnest($1::uuid[], $2::timestamptz[]) AS erased (customer_id, erased_at)
WHERE features.customer_id = erased.customer_id
"""


async def forget_customers(tx: Transaction, erased_at: Mapping[UUID, datetime]) -> None:
    """Delete what is known of the customers, and keep that they are erased.

    The lock is `FOR UPDATE`, the only one that the recomputation's `FOR KEY SHARE` waits for: else it could put a
    row of `rfm` back that is deleted here.
    """
    customers = list(erased_at)
    await tx.sql(MAKE, customers, tx.now)
    await tx.sql(LOCK, customers)
    await tx.sql(EMPTY, customers, list(erased_at.values()), tx.now)
    for statement in FORGET:
        await tx.sql(statement, customers)
