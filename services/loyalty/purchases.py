"""The receipts that are known: one row each, by which a receipt that comes again is recognised."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Final, Literal, NamedTuple
from uuid import UUID

import orjson

from chassis.transaction import Transaction
from contracts.purchases import PurchaseCompleted
from services.loyalty.ledger import Operation
from services.loyalty.limits import Breach
from services.loyalty.pricing import Pricing, split

IN_LEDGER: Final = "('completed', 'partly_returned', 'returned', 'cancelled')"
KNOWN: Final = """
SELECT receipt_id, state, content_hash FROM purchases WHERE receipt_id = ANY ($1::text[]) AND state <> 'awaited'
"""
RECORD: Final = f"""
INSERT INTO purchases (receipt_id, state, operation_id, account_id, customer_id, card_number, store_id, terminal_id,
                       completed_at, currency, total_minor, discount_minor, points, level, withheld, payment_id,
                       points_paid, paid_minor, content_hash, lines)
SELECT receipt_id, 'completed', operation_id, account_id, customer_id, card_number, store_id, terminal_id,
       completed_at, currency, total_minor, discount_minor, points, level, withheld, payment_id,
       points_paid, paid_minor, content_hash, convert_from(lines, 'UTF8')::json
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
            $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::uuid[],
            $16::bigint[], $17::bigint[], $18::bigint[], $19::bytea[])
     AS purchase (receipt_id, operation_id, account_id, customer_id, card_number, store_id, terminal_id, completed_at,
                  currency, total_minor, discount_minor, points, level, withheld, payment_id, points_paid, paid_minor,
                  content_hash, lines)
ON CONFLICT (receipt_id) DO UPDATE SET
    state = excluded.state, operation_id = excluded.operation_id, account_id = excluded.account_id,
    customer_id = excluded.customer_id, card_number = excluded.card_number, store_id = excluded.store_id,
    terminal_id = excluded.terminal_id, completed_at = excluded.completed_at, currency = excluded.currency,
    total_minor = excluded.total_minor, discount_minor = excluded.discount_minor, points = excluded.points,
    level = excluded.level, withheld = excluded.withheld, payment_id = excluded.payment_id,
    points_paid = excluded.points_paid, paid_minor = excluded.paid_minor, content_hash = excluded.content_hash,
    lines = excluded.lines
WHERE purchases.state NOT IN {IN_LEDGER}
RETURNING receipt_id, xmax <> 0
"""  # noqa: S608 (constants)
HOLD_PLACE: Final = """
INSERT INTO purchases (receipt_id, state) VALUES ($1, 'awaited') ON CONFLICT (receipt_id) DO NOTHING
"""
LOCK: Final = """
SELECT receipt_id, state, operation_id, account_id, customer_id, store_id, currency, total_minor, points, withheld,
       payment_id, lines, level
FROM purchases WHERE receipt_id = $1 FOR UPDATE
"""
CORRECT: Final = """
UPDATE purchases SET points = points + $2, operation_id = $3, level = $4, withheld = $5,
                     lines = convert_from($6, 'UTF8')::json
WHERE receipt_id = $1
"""
SET_STATE: Final = "UPDATE purchases SET state = $2 WHERE receipt_id = $1"

State = Literal["awaited", "quoted", "held", "completed", "partly_returned", "returned", "cancelled", "abandoned"]
BEFORE_LEDGER: Final = frozenset({"awaited", "quoted", "held", "abandoned"})


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a purchase as it is kept."""

    line_no: int
    product_id: str
    category: str | None
    quantity: str
    total_minor: int
    points: int
    """What it earned."""
    paid_minor: int
    """What of it was paid with points, in money."""
    points_paid: int
    """With how many points."""


@dataclass(frozen=True, slots=True)
class KnownPurchase:
    """A purchase that is in the ledger, its row locked."""

    receipt_id: str
    state: State
    operation_id: UUID
    account_id: UUID
    customer_id: UUID
    """Who bought."""
    store_id: str
    currency: str
    total_minor: int
    points: int
    withheld: str | None
    """Why it earned nothing; then it does not count towards the level either."""
    payment_id: UUID | None
    """The operation by which it was paid with points in part."""
    lines: tuple[Line, ...]
    level: str = ""
    """By which it was priced."""


@dataclass(frozen=True, slots=True)
class Payment:
    """What of a purchase was paid with points: in money, over its lines, and the points that were taken for it.

    Where a hold had timed out and too few points were left, the customer paid with fewer than the till took off.
    """

    hold_id: UUID
    due: int
    """Points that stand for that money."""
    paid_minor: int
    line_minor: Sequence[int]
    operation: Operation | None = None
    """None where no point was left to be taken."""

    @property
    def points(self) -> int:
        return -self.operation.points if self.operation else 0

    @property
    def missing(self) -> int:
        """Points that were not there any more."""
        return self.due - self.points


@dataclass(slots=True)
class Accrual:
    """A purchase that is new, what it earns, and the operation that says so."""

    purchase: PurchaseCompleted
    buyer_id: UUID
    pricing: Pricing
    operation: Operation
    content_hash: int
    payment: Payment | None = None
    breaches: Sequence[Breach] = ()


class ReceiptRace(Exception):
    """Another transaction recorded one of the receipts meanwhile: tried again, it is recognised."""


class Seen(NamedTuple):
    """A receipt that has a row: in which state, and the hash of the content with which it was credited."""

    state: State
    content_hash: int | None


async def known_receipts(tx: Transaction, receipt_ids: Iterable[str]) -> dict[str, Seen]:
    """The receipts that were credited, or quoted by a till, before."""
    return {row.receipt_id: Seen(row.state, row.content_hash) for row in await tx.sql(KNOWN, list(receipt_ids))}


async def record(tx: Transaction, accruals: Sequence[Accrual]) -> list[str]:
    """Write the purchases; gives receipts that had a row: a return may wait for them. Raises `ReceiptRace`."""
    rows = await tx.sql(
        RECORD,
        [each.purchase.receipt_id for each in accruals],
        [each.operation.id for each in accruals],
        [each.operation.account.id for each in accruals],
        [each.buyer_id for each in accruals],
        [each.purchase.card_number for each in accruals],
        [each.purchase.store_id for each in accruals],
        [each.purchase.terminal_id for each in accruals],
        [each.purchase.completed_at for each in accruals],
        [each.purchase.currency for each in accruals],
        [each.purchase.total_minor for each in accruals],
        [each.purchase.discount_minor for each in accruals],
        [each.pricing.points for each in accruals],
        [each.pricing.level for each in accruals],
        [each.pricing.withheld for each in accruals],
        [each.payment.operation.id if each.payment and each.payment.operation else None for each in accruals],
        [each.payment.points if each.payment else 0 for each in accruals],
        [each.payment.paid_minor if each.payment else 0 for each in accruals],
        [each.content_hash for each in accruals],
        [_packed_lines(each) for each in accruals],
    )
    if len(rows) != len(accruals):
        raise ReceiptRace
    return [receipt_id for receipt_id, had_row in rows if had_row]


async def lock_purchase(tx: Transaction, receipt_id: str) -> KnownPurchase | None:
    """The purchase with its row locked; None where it is not in the ledger yet: then its place is held and locked."""
    await tx.sql(HOLD_PLACE, receipt_id)
    (row,) = await tx.sql(LOCK, receipt_id)
    if row.state in BEFORE_LEDGER:
        return None
    return KnownPurchase(**{**row, "lines": tuple(Line(*line) for line in row.lines)})


async def set_state(tx: Transaction, receipt_id: str, state: State) -> None:
    await tx.sql(SET_STATE, receipt_id, state)


async def correct(
    tx: Transaction,
    purchase: KnownPurchase,
    points: int,
    line_points: Sequence[int],
    *,
    operation_id: UUID,
    level: str,
    withheld: str | None,
) -> None:
    """A locked purchase has earned so many points more (negative: fewer), each line so many altogether."""
    lines = [replace(line, points=each) for line, each in zip(purchase.lines, line_points, strict=True)]
    await tx.sql(CORRECT, purchase.receipt_id, points, operation_id, level, withheld, packed(lines))


def packed(lines: Iterable[Line]) -> bytes:
    """Lines as they are kept."""
    return orjson.dumps([astuple(line) for line in lines])


def _packed_lines(accrual: Accrual) -> bytes:
    payment, lines = accrual.payment, accrual.purchase.lines
    if payment is None:
        return orjson.dumps(
            [
                (line.line_no, line.product_id, line.category, line.quantity, line.total_minor, points, 0, 0)
                for line, points in zip(lines, accrual.pricing.line_points, strict=True)
            ]
        )
    line_paid = split(payment.points, payment.line_minor)
    return packed(
        Line(line.line_no, line.product_id, line.category, line.quantity, line.total_minor, points, minor, paid)
        for line, points, minor, paid in zip(
            lines, accrual.pricing.line_points, payment.line_minor, line_paid, strict=True
        )
    )
