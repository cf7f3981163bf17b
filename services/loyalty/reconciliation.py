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
    "lots_of_an_account_sum_to_its_balance_and_debt": """
        SELECT id::text, balance + debt, COALESCE(sum(remaining), 0)
        FROM accounts LEFT JOIN lots ON lots.account_id = accounts.id
        GROUP BY id HAVING balance + debt <> COALESCE(sum(remaining), 0)
    """,
    "pending_points_are_those_of_pending_lots": """
        SELECT id::text, accounts.pending, COALESCE(sum(remaining) FILTER (WHERE lots.pending), 0)
        FROM accounts LEFT JOIN lots ON lots.account_id = accounts.id
        GROUP BY id HAVING accounts.pending <> COALESCE(sum(remaining) FILTER (WHERE lots.pending), 0)
    """,
    "held_points_are_those_held_in_lots": """
        SELECT id::text, accounts.held, COALESCE(sum(lots.held), 0)
        FROM accounts LEFT JOIN lots ON lots.account_id = accounts.id
        GROUP BY id HAVING accounts.held <> COALESCE(sum(lots.held), 0)
    """,
    "held_points_are_those_of_standing_holds": """
        SELECT accounts.id::text, accounts.held, COALESCE(sum(holds.points), 0)
        FROM accounts LEFT JOIN holds ON holds.account_id = accounts.id AND holds.state = 'held'
        GROUP BY accounts.id HAVING accounts.held <> COALESCE(sum(holds.points), 0)
    """,
    "what_is_held_of_a_lot_is_held_by_its_holds": """
        SELECT lots.operation_id::text, lots.held, COALESCE(sum(hold_lots.points), 0)
        FROM lots LEFT JOIN (hold_lots JOIN holds ON holds.id = hold_id AND state = 'held')
             ON holds.account_id = lots.account_id AND hold_lots.lot = lots.operation_id
        GROUP BY lots.account_id, lots.operation_id HAVING lots.held <> COALESCE(sum(hold_lots.points), 0)
    """,
    "debts_of_an_account_sum_to_its_debt": """
        SELECT id::text, debt, COALESCE(sum(debts.points), 0)
        FROM accounts LEFT JOIN debts ON debts.account_id = accounts.id
        GROUP BY id HAVING debt <> COALESCE(sum(debts.points), 0)
    """,
    "what_left_a_lot_is_accounted_for": """
        SELECT lots.operation_id::text, remaining - CASE WHEN came_from IS NULL THEN amount ELSE 0 END,
               COALESCE(sum(points), 0)
        FROM lots LEFT JOIN lot_movements AS moved
             ON moved.account_id = lots.account_id AND moved.lot = lots.operation_id
        GROUP BY lots.account_id, lots.operation_id
        HAVING remaining - CASE WHEN came_from IS NULL THEN amount ELSE 0 END <> COALESCE(sum(points), 0)
    """,
    "an_operation_moves_in_lots_and_debt_what_it_enters": """
        SELECT id::text, operations.points,
               COALESCE(lots.amount, 0) + COALESCE(sum(moved.points), 0) - COALESCE(debts.points, 0)
        FROM operations
             LEFT JOIN lots ON lots.operation_id = id AND lots.account_id = operations.account_id AND came_from IS NULL
             LEFT JOIN debts ON debts.operation_id = id AND debts.account_id = operations.account_id
             LEFT JOIN lot_movements AS moved
                  ON moved.operation_id = id AND moved.account_id = operations.account_id
        GROUP BY id, operations.points, lots.amount, debts.points
        HAVING operations.points <>
               COALESCE(lots.amount, 0) + COALESCE(sum(moved.points), 0) - COALESCE(debts.points, 0)
    """,
    "nothing_is_below_zero_but_what_is_owed": """
        SELECT id::text, -debt, balance FROM accounts WHERE balance < -debt
    """,
    "nothing_is_reversed_or_refunded_twice": """
        SELECT theirs.id::text, abs(theirs.points), sum(abs(later.points))
        FROM operations AS later JOIN operations AS theirs ON theirs.id = later.reverses
        WHERE later.type IN ('reversal', 'refund')
        GROUP BY theirs.id HAVING sum(abs(later.points)) > abs(theirs.points)
    """,
    "every_purchase_has_one_operation_of_its_points": """
        SELECT receipt_id, purchases.points, COALESCE(sum(operations.points), 0)
        FROM purchases LEFT JOIN operations USING (receipt_id)
        WHERE state IN ('completed', 'partly_returned', 'returned', 'cancelled')
          AND (operations.type IN ('purchase', 'review') OR operations.type IS NULL)
        GROUP BY receipt_id, purchases.points
        HAVING count(operations.id) FILTER (WHERE operations.type = 'purchase') <> 1
            OR sum(operations.points) <> purchases.points
    """,
    "a_purchase_took_the_points_that_it_was_paid_with": """
        SELECT purchases.receipt_id, points_paid, COALESCE(-operations.points, 0)
        FROM purchases LEFT JOIN operations ON operations.id = payment_id
        WHERE points_paid <> COALESCE(-operations.points, 0)
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
