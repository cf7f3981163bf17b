"""The ledger: double entry, append-only, every operation sums to zero.

The accounts are locked by a statement of their own before anything is posted (`accounts.find_and_lock`): an UPDATE fed
by a data-modifying CTE would silently skip a row that another transaction changed while it waited (READ COMMITTED).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from chassis.transaction import Transaction
from services.loyalty import lots
from services.loyalty.accounts import Account
from services.loyalty.lots import Movement

PROGRAMME = UUID(int=0)
"""The account that points come from and return to; its balance is the sum of its entries."""

POST = """
WITH posted AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::timestamptz[],
                         $7::bigint[], $8::timestamptz[], $9::uuid[])
        AS posted (id, type, account_id, points, receipt_id, occurred_at, balance_after, expires_at, reverses)
), written AS (
    INSERT INTO operations (id, type, account_id, points, receipt_id, reverses, occurred_at, entered_at)
    SELECT id, type, account_id, points, receipt_id, reverses, occurred_at, $12 FROM posted
), entered AS (
    INSERT INTO entries (account_id, operation_id, amount, balance_after)
    SELECT account_id, id, points, balance_after FROM posted
    UNION ALL
    SELECT $13, id, -points, NULL FROM posted
), opened AS (
    INSERT INTO lots (account_id, operation_id, amount, remaining, expires_at)
    SELECT account_id, id, points, points, expires_at FROM posted WHERE points > 0 AND reverses IS NULL
)
UPDATE accounts SET balance = accounts.balance + change.points, spent_minor = accounts.spent_minor + change.spent_minor
FROM unnest($10::uuid[], $11::bigint[], $14::bigint[]) AS change (account_id, points, spent_minor)
WHERE accounts.id = change.account_id
"""


OperationType = Literal["purchase", "return", "cancellation", "manual", "reversal", "expiry"]


@dataclass(slots=True)
class Operation:
    """One ledger operation on a locked account. `points` is what the account gains; the programme loses as much."""

    id: UUID
    type: OperationType
    account: Account
    points: int
    spent_minor: int
    """Money spent (negative: given back), for the customer's level."""
    receipt_id: str | None
    occurred_at: datetime
    expires_at: datetime | None = None
    reverses: UUID | None = None
    """The operation that it takes back, whole or in part."""
    movements: Sequence[Movement] = ()
    """Of an operation that opens no lot: from which lots the points are taken, or to which they go back."""
    balance_after: int = 0


def enter(operations: Iterable[Operation]) -> None:
    """Work the operations into their accounts, in order: each one's `balance_after` becomes known."""
    for operation in operations:
        account = operation.account
        account.balance += operation.points
        account.spent_minor += operation.spent_minor
        operation.balance_after = account.balance


async def post(tx: Transaction, operations: Sequence[Operation]) -> None:
    """Write entered operations with their entries, lots and movements of lots, and the new balances.

    A lot moves at most once a call: PostgreSQL applies one change a row and statement.
    """
    if not operations:
        return
    changes: dict[UUID, tuple[int, int]] = {}
    for operation in operations:
        points, spent_minor = changes.get(operation.account.id, (0, 0))
        changes[operation.account.id] = (points + operation.points, spent_minor + operation.spent_minor)
    await tx.sql(
        POST,
        [operation.id for operation in operations],
        [operation.type for operation in operations],
        [operation.account.id for operation in operations],
        [operation.points for operation in operations],
        [operation.receipt_id for operation in operations],
        [operation.occurred_at for operation in operations],
        [operation.balance_after for operation in operations],
        [operation.expires_at for operation in operations],
        [operation.reverses for operation in operations],
        list(changes),
        [points for points, _ in changes.values()],
        tx.now,
        PROGRAMME,
        [spent_minor for _, spent_minor in changes.values()],
    )
    await lots.move(tx, [(each.account.id, each.id, movement) for each in operations for movement in each.movements])
