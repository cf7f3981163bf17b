"""The receipts that are known: one row each, by which a receipt that comes again is recognised."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from chassis.transaction import Transaction
from contracts.purchases import PurchaseCompleted
from services.loyalty.ledger import Operation
from services.loyalty.pricing import Pricing

KNOWN = "SELECT receipt_id, content_hash FROM purchases WHERE receipt_id = ANY ($1::text[]) AND state <> 'awaited'"
RECORD = """
INSERT INTO purchases (receipt_id, state, operation_id, account_id, customer_id, store_id, terminal_id, completed_at,
                       currency, total_minor, points, level, withheld, content_hash, lines)
SELECT receipt_id, 'completed', operation_id, account_id, customer_id, store_id, terminal_id, completed_at,
       currency, total_minor, points, level, withheld, content_hash, convert_from(lines, 'UTF8')::json
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::text[],
            $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::bigint[], $14::bytea[])
     AS purchase (receipt_id, operation_id, account_id, customer_id, store_id, terminal_id, completed_at, currency,
                  total_minor, points, level, withheld, content_hash, lines)
ON CONFLICT (receipt_id) DO UPDATE SET
    state = excluded.state, operation_id = excluded.operation_id, account_id = excluded.account_id,
    customer_id = excluded.customer_id, store_id = excluded.store_id, terminal_id = excluded.terminal_id,
    completed_at = excluded.completed_at, currency = excluded.currency, total_minor = excluded.total_minor,
    points = excluded.points, level = excluded.level, withheld = excluded.withheld,
    content_hash = excluded.content_hash, lines = excluded.lines
WHERE purchases.state = 'awaited'
RETURNING receipt_id, xmax <> 0
"""
HOLD_PLACE = """
INSERT INTO purchases (receipt_id, state) VALUES ($1, 'awaited') ON CONFLICT (receipt_id) DO NOTHING
"""
LOCK = """
SELECT receipt_id, state, operation_id, account_id, customer_id, store_id, currency, total_minor, points, withheld,
       lines
FROM purchases WHERE receipt_id = $1 FOR UPDATE
"""
SET_STATE = "UPDATE purchases SET state = $2 WHERE receipt_id = $1"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a purchase as it is kept: what a return needs to know of it."""

    line_no: int
    product_id: str
    category: str | None
    quantity: str
    total_minor: int


@dataclass(frozen=True, slots=True)
class KnownPurchase:
    """A purchase that is in the ledger, its row locked."""

    receipt_id: str
    state: str
    operation_id: UUID
    account_id: UUID
    customer_id: UUID
    store_id: str
    currency: str
    total_minor: int
    points: int
    withheld: str | None
    """Why it earned nothing; then it does not count towards the level either."""
    lines: tuple[Line, ...]


@dataclass(slots=True)
class Accrual:
    """A purchase that is new, what it earns, and the operation that says so."""

    purchase: PurchaseCompleted
    pricing: Pricing
    operation: Operation
    content_hash: int


class ReceiptRace(Exception):
    """Another transaction recorded one of the receipts meanwhile: tried again, it is recognised."""


async def known_receipts(tx: Transaction, receipt_ids: Iterable[str]) -> dict[str, int]:
    """The content hash of each receipt that is in the ledger already."""
    return {row.receipt_id: row.content_hash for row in await tx.sql(KNOWN, list(receipt_ids))}


async def record(tx: Transaction, accruals: Sequence[Accrual]) -> list[str]:
    """Write the purchases; gives the receipts that a return was waiting for. Raises `ReceiptRace`."""
    rows = await tx.sql(
        RECORD,
        [each.purchase.receipt_id for each in accruals],
        [each.operation.id for each in accruals],
        [each.operation.account.id for each in accruals],
        [each.operation.account.customer_id for each in accruals],
        [each.purchase.store_id for each in accruals],
        [each.purchase.terminal_id for each in accruals],
        [each.purchase.completed_at for each in accruals],
        [each.purchase.currency for each in accruals],
        [each.purchase.total_minor for each in accruals],
        [each.pricing.points for each in accruals],
        [each.pricing.level for each in accruals],
        [each.pricing.withheld for each in accruals],
        [each.content_hash for each in accruals],
        [_packed_lines(each.purchase) for each in accruals],
    )
    if len(rows) != len(accruals):
        raise ReceiptRace
    return [receipt_id for receipt_id, was_awaited in rows if was_awaited]


async def lock_purchase(tx: Transaction, receipt_id: str) -> KnownPurchase | None:
    """The purchase with its row locked; None where it is not known yet: then its place is held and locked."""
    await tx.sql(HOLD_PLACE, receipt_id)
    (row,) = await tx.sql(LOCK, receipt_id)
    if row.lines is None:
        return None
    return KnownPurchase(**{**row._mapping, "lines": tuple(Line(*line) for line in row.lines)})


async def set_state(tx: Transaction, receipt_id: str, state: str) -> None:
    await tx.sql(SET_STATE, receipt_id, state)


def _packed_lines(purchase: PurchaseCompleted) -> bytes:
    lines: list[tuple[Any, ...]] = [
        (line.line_no, line.product_id, line.category, line.quantity, line.total_minor) for line in purchase.lines
    ]
    return orjson.dumps(lines)
