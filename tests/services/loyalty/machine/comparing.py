"""What is compared: the service's accounts and lots after each step, at the end all that it did and said."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from contracts.limits import PointsCorrected
from contracts.loyalty import (
    OperationReversed,
    PointsAccrued,
    PointsAdjusted,
    PointsExpired,
    PointsMoved,
    PointsRedeemed,
    PointsRefunded,
    PointsReturned,
)
from contracts.records import Record
from tests.services.loyalty.machine.history import History
from tests.services.loyalty.model.lots import Account, Lot

OF_OPERATIONS = (
    OperationReversed,
    PointsAccrued,
    PointsAdjusted,
    PointsCorrected,
    PointsExpired,
    PointsMoved,
    PointsRedeemed,
    PointsRefunded,
    PointsReturned,
)
ACCOUNTS = """
SELECT customer_id, kind, balance, pending, held, debt, spent_minor, (SELECT count(*) FROM dead_letters) AS dead,
       (SELECT count(*) FROM waiting) AS waiting, (SELECT count(*) FROM reviews) AS reviews
FROM accounts
"""
LOTS = """
SELECT customer_id, kind, operation_id, remaining, lots.held, lots.pending, activates_at, expires_at
FROM lots JOIN accounts ON accounts.id = account_id ORDER BY operation_id
"""
HAPPENED = """
SELECT type AS what, count(*) AS times FROM operations GROUP BY 1
UNION ALL SELECT kind || ' ' || type, count(*) FROM operations JOIN accounts ON accounts.id = account_id GROUP BY 1
UNION ALL SELECT state, count(*) FROM holds GROUP BY 1
UNION ALL SELECT type || ' pays', count(*) FROM debts JOIN operations ON id = operation_id WHERE debts.points < 0
    GROUP BY 1
UNION ALL SELECT 'late', count(*) FROM holds WHERE missing > 0
UNION ALL SELECT 'smaller', count(*) FROM holds JOIN purchases USING (receipt_id)
    WHERE holds.state = 'captured' AND points_paid + missing < holds.points
UNION ALL SELECT 'other worth', count(*) FROM holds JOIN accounts ON accounts.id = account_id
    WHERE holds.state = 'captured' AND holds.redemption_coefficient <> accounts.redemption_coefficient
UNION ALL SELECT CASE WHEN points < 0 THEN 'taken away' ELSE 'credited' END, count(*) FROM operations
    WHERE type = 'review' AND points <> 0 GROUP BY 1
UNION ALL SELECT 'coefficients', count(*) FROM coefficient_changes
"""


async def compare(history: History) -> None:
    """Each account's figures, and each lot that has points left."""
    people = {customer_id: person for person, customer_id in history.ids.items()}
    rows = await history.loyalty.rows(ACCOUNTS)
    found = {(people[row.customer_id], row.kind): tuple(row)[2:7] for row in rows}
    expected = {
        (each.owner, each.kind): (each.balance, each.pending, each.held, each.debt, each.spent)
        for each in history.book.all_accounts
    }
    assert found == expected
    assert rows[0].dead == len(history.refusals), await history.loyalty.refused()
    assert rows[0].waiting == len(history.book.waiting)
    assert rows[0].reviews == len(history.book.reviews)
    kept = await history.loyalty.rows(LOTS)
    numbers = _numbers(kept)
    assert len(numbers) == history.book.lots_made
    there = {
        (people[row.customer_id], row.kind, numbers[row.operation_id]): (
            row.remaining,
            row.held,
            row.pending,
            row.expires_at,
        )
        for row in kept
        if row.remaining
    }
    meant = {
        (account.owner, account.kind, lot.number): (lot.remaining, lot.held, lot.pending, lot.expires_at)
        for account in history.book.all_accounts
        for lot in account.lots.values()
        if lot.remaining
    }
    assert there == meant


async def adopt(history: History, accounts: Sequence[Account]) -> None:
    """The lots, debts and money spent of these accounts are what the service says."""
    kept = await history.loyalty.rows(LOTS)
    numbers = _numbers(kept)
    for account in accounts:
        for row in kept:
            if (row.customer_id, row.kind) != (history.ids[account.owner], account.kind):
                continue
            number = numbers[row.operation_id]
            lot = account.lots.setdefault(number, Lot(number, 0, row.expires_at, row.activates_at))
            lot.remaining, lot.held, lot.pending = row.remaining, row.held, row.pending
            lot.expires_at = row.expires_at
    for row in await history.loyalty.rows(ACCOUNTS):
        for account in accounts:
            if (row.customer_id, row.kind) == (history.ids[account.owner], account.kind):
                account.debt, account.spent = row.debt, row.spent_minor


async def prove(history: History) -> None:
    """The ledger's own laws hold, and each operation was told of once; what happened is counted."""
    assert await history.loyalty.differences() == []
    assert await history.loyalty.refused() == history.refusals
    said = await history.loyalty.said(Record)
    told = Counter(each.operation_id for each in said if isinstance(each, OF_OPERATIONS))
    operations = {row.id for row in await history.loyalty.rows("SELECT id FROM operations")}
    assert told == Counter(operations)
    history.world.told["examples"] += 1
    history.world.told["waited"] += history.book.waited
    for row in await history.loyalty.rows(HAPPENED):
        history.world.told[row.what] += row.times
    history.world.told.update(history.refusals)


def _numbers(kept: Any) -> dict[Any, int]:
    """Of the lots' operations, in the order in which they were made."""
    return {each: number for number, each in enumerate(sorted({row.operation_id for row in kept}), 1)}
