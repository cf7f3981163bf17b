"""The ledger: double entry, append-only, every operation sums to zero.

The accounts are locked by a statement of their own before anything is posted or held (`accounts.find_and_lock`): an
UPDATE fed by a data-modifying CTE would silently skip a row that another transaction changed while it waited (READ
COMMITTED).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from chassis.transaction import Transaction
from services.loyalty import lots
from services.loyalty.accounts import Account, of_account
from services.loyalty.lots import Movement
from services.loyalty.tables import OperationType

PROGRAMME: Final = UUID(int=0)
"""The account that points come from and return to; its balance is the sum of its entries."""
COMING_BACK: Final = frozenset({"refund", "reversal"})
"""Operations whose points, where they go to old lots, come in as those of a new one do."""
WRITE_FIGURES: Final = """
UPDATE accounts SET balance = change.balance, pending = change.pending, held = change.held, debt = change.debt,
                    spent_minor = change.spent_minor
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
     AS change (account_id, balance, pending, held, debt, spent_minor)
WHERE accounts.id = change.account_id
"""
"""The end of every statement that changes accounts; its parameters, `figures`, are their first."""
POST: Final = f"""
WITH posted AS MATERIALIZED (
    SELECT * FROM unnest($7::uuid[], $8::text[], $9::uuid[], $10::bigint[], $11::text[], $12::timestamptz[],
                         $13::bigint[], $14::uuid[], $15::bigint[], $16::timestamptz[], $17::timestamptz[])
        AS posted (id, type, account_id, points, receipt_id, occurred_at, balance_after, reverses, opens, activates_at,
                   expires_at)
), written AS (
    INSERT INTO operations (id, type, account_id, points, receipt_id, reverses, occurred_at, entered_at)
    SELECT id, type, account_id, points, receipt_id, reverses, occurred_at, $18 FROM posted
), entered AS (
    INSERT INTO entries (account_id, operation_id, amount, balance_after)
    SELECT account_id, id, points, balance_after FROM posted
    UNION ALL
    SELECT $19, id, -points, NULL FROM posted
), opened AS (
    INSERT INTO lots (account_id, operation_id, amount, remaining, pending, activates_at, expires_at)
    SELECT account_id, id, opens, opens, activates_at IS NOT NULL, activates_at, expires_at FROM posted WHERE opens > 0
)
{WRITE_FIGURES}"""  # noqa: S608 (a constant)
OWE: Final = """
INSERT INTO debts (account_id, operation_id, points) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[])
"""


@dataclass(slots=True)
class Operation:
    """One ledger operation on a locked account. `points` is what the account gains; the programme loses as much."""

    id: UUID
    type: OperationType
    account: Account
    points: int
    occurred_at: datetime
    receipt_id: str | None = None
    spent_minor: int = 0
    """Money spent (negative: given back), for the customer's level."""
    opens: int = 0
    """Of the points that it brings, those that make a lot of their own."""
    activates_at: datetime | None = None
    """From when the points of that lot can be spent; None: at once."""
    expires_at: datetime | None = None
    """When the points of that lot burn; None: never."""
    reverses: UUID | None = None
    """The operation that it takes back, whole or in part."""
    movements: Sequence[Movement] = ()
    """From which other lots the points are taken, or to which they go back."""
    debt: int = 0
    """By how much more is owed: what could be taken from no lot. What comes in pays debts first, see `enter`."""
    balance_after: int = 0
    available_after: int = 0


def enter(operations: Iterable[Operation]) -> None:
    """Work the operations into their accounts, in order: each one's `balance_after` and `available_after` become
    known.

    A lot that is opened on an account with a debt pays it at once, and so do points that come back to lots.
    """
    for operation in operations:
        account = operation.account
        paid = min(operation.opens, account.debt)
        if operation.type in COMING_BACK and account.debt > paid:
            operation.movements, of_lots = _paying(operation.movements, account.debt - paid)
            operation.debt -= of_lots
        if paid:
            operation.debt -= paid
            operation.movements = [*operation.movements, Movement(operation.id, -paid)]
        if operation.activates_at is not None:
            account.pending += operation.opens - paid
        for movement in operation.movements:
            account.held += movement.held
            if movement.pending:
                account.pending += movement.points
        account.balance += operation.points
        account.debt += operation.debt
        account.spent_minor += operation.spent_minor
        operation.balance_after = account.balance
        operation.available_after = account.available


def _paying(movements: Sequence[Movement], debt: int) -> tuple[list[Movement], int]:
    """What of the points still gets to their lots after the debt, which the first of them pay; how many pay it."""
    left = []
    paid = 0
    for each in movements:
        pays = min(max(0, each.points), debt - paid)
        paid += pays
        if each.points != pays:
            left.append(each._replace(points=each.points - pays))
    return left, paid


async def post(tx: Transaction, operations: Sequence[Operation]) -> None:
    """Write entered operations with their entries, lots and movements of lots, and their accounts' new figures."""
    if not operations:
        return
    await tx.sql(
        POST,
        *figures(operation.account for operation in operations),
        [operation.id for operation in operations],
        [operation.type for operation in operations],
        [operation.account.id for operation in operations],
        [operation.points for operation in operations],
        [operation.receipt_id for operation in operations],
        [operation.occurred_at for operation in operations],
        [operation.balance_after for operation in operations],
        [operation.reverses for operation in operations],
        [operation.opens for operation in operations],
        [operation.activates_at for operation in operations],
        [operation.expires_at for operation in operations],
        tx.now,
        PROGRAMME,
    )
    await lots.move(tx, [(each.account.id, each.id, movement) for each in operations for movement in each.movements])
    owing = [each for each in operations if each.debt]
    if owing:
        await tx.sql(OWE, [each.account.id for each in owing], [each.id for each in owing], [e.debt for e in owing])


def of_operation(operation: Operation) -> dict[str, Any]:
    """What every event of an operation names."""
    return {
        **of_account(operation.account),
        "operation_id": operation.id,
        "balance_after": operation.balance_after,
        "available_after": operation.available_after,
    }


def figures(accounts: Iterable[Account]) -> tuple[list[Any], ...]:
    """The accounts' ids and their figures, each account once."""
    changed = {account.id: account for account in accounts}
    return (
        list(changed),
        [account.balance for account in changed.values()],
        [account.pending for account in changed.values()],
        [account.held for account in changed.values()],
        [account.debt for account in changed.values()],
        [account.spent_minor for account in changed.values()],
    )


async def write_figures(tx: Transaction, accounts: Iterable[Account]) -> None:
    """The accounts' figures where nothing else is written with them."""
    await tx.sql(WRITE_FIGURES, *figures(accounts))
