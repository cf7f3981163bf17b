"""Proving the ledger: what must hold at every moment, over the whole database. Every row given back is a difference."""

from typing import NamedTuple

from chassis.transaction import Transaction
from services.loyalty.ledger import PROGRAMME

CHECKS = {
    "entries_of_an_operation_sum_to_zero": """
        SELECT operation_id::text, 0, sum(amount) FROM entries GROUP BY operation_id HAVING sum(amount) <> 0
    """,
    "every_operation_has_its_two_entries": """
        SELECT operations.id::text, 2, count(entries.operation_id)
        FROM operations LEFT JOIN entries ON entries.operation_id = operations.id
        GROUP BY operations.id HAVING count(entries.operation_id) <> 2
    """,
    "every_entry_belongs_to_an_operation": """
        SELECT entries.operation_id::text, 1, 0
        FROM entries LEFT JOIN operations ON operations.id = entries.operation_id WHERE operations.id IS NULL
    """,
    "entries_of_an_account_sum_to_its_balance": """
        SELECT account_id::text, COALESCE(balance, 0), COALESCE(entered, 0)
        FROM (SELECT id AS account_id, balance FROM accounts) AS kept
        FULL JOIN (SELECT account_id, sum(amount) AS entered FROM entries WHERE account_id <> $1 GROUP BY account_id)
             AS summed USING (account_id)
        WHERE COALESCE(balance, 0) <> COALESCE(entered, 0) OR (balance IS NULL)
    """,
    "lots_of_an_account_sum_to_its_balance": """
        SELECT id::text, balance, COALESCE(sum(remaining), 0)
        FROM accounts LEFT JOIN lots ON lots.account_id = accounts.id
        GROUP BY id HAVING balance <> COALESCE(sum(remaining), 0)
    """,
    "what_left_a_lot_is_accounted_for": """
        SELECT lots.operation_id::text, remaining - amount, COALESCE(sum(points), 0)
        FROM lots LEFT JOIN lot_movements AS moved
             ON moved.account_id = lots.account_id AND moved.lot = lots.operation_id
        GROUP BY lots.account_id, lots.operation_id
        HAVING remaining - amount <> COALESCE(sum(points), 0)
    """,
    "an_operation_that_opens_no_lot_moves_its_points": """
        SELECT operations.id::text, operations.points, COALESCE(sum(moved.points), 0)
        FROM operations LEFT JOIN lots ON lots.operation_id = operations.id
             LEFT JOIN lot_movements AS moved ON moved.operation_id = operations.id
        WHERE lots.operation_id IS NULL
        GROUP BY operations.id HAVING operations.points <> COALESCE(sum(moved.points), 0)
    """,
    "nothing_is_below_zero": """
        SELECT id::text, 0, balance FROM accounts WHERE balance < 0
    """,
    "every_purchase_has_one_operation_of_its_points": """
        SELECT receipt_id, count(operations.id), COALESCE(sum(operations.points), 0)
        FROM purchases LEFT JOIN operations USING (receipt_id)
        WHERE state <> 'awaited' AND (operations.type = 'purchase' OR operations.type IS NULL)
        GROUP BY receipt_id, purchases.points
        HAVING count(operations.id) <> 1 OR sum(operations.points) <> purchases.points
    """,
    "a_purchase_gave_back_no_more_than_it_earned": """
        SELECT receipt_id, purchases.points, sum(returns.points)
        FROM returns JOIN purchases USING (receipt_id)
        GROUP BY receipt_id, purchases.points, purchases.total_minor
        HAVING sum(returns.points) > purchases.points OR sum(returns.total_minor) > purchases.total_minor
    """,
}


class Difference(NamedTuple):
    """Where a law is broken: the law, the operation, account or receipt, what should be and what is."""

    law: str
    subject: str
    expected: int
    found: int


async def differences(tx: Transaction, *, most: int = 1000) -> list[Difference]:
    """The differences of the whole ledger, `most` of each law at the most; none is the only good answer."""
    found = []
    for law, query in CHECKS.items():
        arguments = (PROGRAMME,) if "$1" in query else ()
        for subject, expected, is_now in await tx.sql(f"{query} LIMIT {int(most)}", *arguments):
            found.append(Difference(law, subject, int(expected), int(is_now)))
    return found
