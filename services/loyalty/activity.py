"""Points that live on with activity: each purchase gives all points of its account a new life."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.transaction import Transaction
from services.loyalty.ledger import Operation
from services.loyalty.lot_life import expires_at
from services.loyalty.terms import Terms, terms_at

PROLONG: Final = """
UPDATE lots SET expires_at = active.expires_at
FROM unnest($1::uuid[], $2::timestamptz[]) AS active (account_id, expires_at)
WHERE lots.account_id = active.account_id AND remaining > 0 AND lots.expires_at > $3
  AND lots.expires_at < active.expires_at
"""


async def prolong_lots(tx: Transaction, posted: Iterable[Operation], terms: Sequence[Terms]) -> None:
    """Where the terms of a purchase say so, all points of its account have a new life from the purchase on.

    Points whose time is over stay so, whether they have burned yet or not.
    """
    ends: dict[UUID, datetime] = {}
    for operation in posted:
        in_force = terms_at(terms, operation.occurred_at)
        end = expires_at(in_force, operation.occurred_at) if in_force.lots_live_on_with_activity else None
        if end is not None:
            account_id = operation.account.id
            ends[account_id] = max(end, ends.get(account_id, end))
    if ends:
        await tx.sql(PROLONG, list(ends), list(ends.values()), tx.now)
