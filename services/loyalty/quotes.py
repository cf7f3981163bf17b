"""Quotes: what a receipt would earn, and how much of it can be paid with points, line by line.

A quote binds nobody: it is kept as the first state of its purchase, and is replaced by the next one of that receipt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.holds import PurchaseAbandoned
from contracts.purchases import PurchaseLine
from services.loyalty.accounts import Account, Opened
from services.loyalty.paying import most_points, payable_minor, worth_minor
from services.loyalty.pricing import Pricing, Standing, price_purchase
from services.loyalty.purchases import Line, packed
from services.loyalty.terms import BASIS_POINTS, KEYS, MAIN, Terms, terms_at, terms_now, terms_of

PIECE_QUOTES: Final = 1000
KEEP: Final = """
INSERT INTO purchases (receipt_id, state, account_id, customer_id, card_number, store_id, terminal_id, quoted_at,
                       currency, total_minor, discount_minor, points, level, withheld, lines)
VALUES ($1, 'quoted', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, convert_from($14, 'UTF8')::json)
ON CONFLICT (receipt_id) DO UPDATE SET
    state = 'quoted', account_id = excluded.account_id, customer_id = excluded.customer_id,
    card_number = excluded.card_number, store_id = excluded.store_id, terminal_id = excluded.terminal_id,
    quoted_at = excluded.quoted_at, currency = excluded.currency, total_minor = excluded.total_minor,
    discount_minor = excluded.discount_minor, points = excluded.points, level = excluded.level,
    withheld = excluded.withheld, lines = excluded.lines
WHERE purchases.state IN ('awaited', 'quoted', 'abandoned')
  AND (purchases.terminal_id IS NULL OR purchases.terminal_id = excluded.terminal_id)
RETURNING receipt_id
"""
READ: Final = f"""
SELECT receipt_id, state, customer_id, card_number, store_id, terminal_id, currency, lines, {KEYS} AS terms
FROM purchases WHERE receipt_id = $1 AND state <> 'awaited'
"""  # noqa: S608 (a constant)
STATE: Final = "SELECT state, terminal_id FROM purchases WHERE receipt_id = $1"
ABANDON: Final = """
UPDATE purchases SET state = 'abandoned' WHERE receipt_id = ANY ($1::text[]) AND state IN ('quoted', 'held')
RETURNING receipt_id, customer_id, store_id, terminal_id, total_minor, currency, quoted_at
"""
STALE: Final = """
SELECT receipt_id FROM purchases WHERE state = 'quoted' AND quoted_at <= $1 ORDER BY quoted_at LIMIT $2
FOR UPDATE SKIP LOCKED
"""


@dataclass(frozen=True, slots=True)
class Basket:
    """What a till asks about: the receipt to be, for a customer whom it named by card, phone or id."""

    receipt_id: str
    card_number: str | None
    store_id: str
    terminal_id: str
    currency: str
    lines: Sequence[PurchaseLine]


@dataclass(frozen=True, slots=True)
class Payable:
    """What one of the customer's accounts can pay of the receipt."""

    account: Account
    most_points: int
    most_minor: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What the receipt would earn and what could be paid of it with points."""

    terms: Terms
    pricing: Pricing
    earning: Account
    payable_minor: Sequence[int]
    payable: Sequence[Payable]
    rate_basis_points: int
    cashback_basis_points: int
    """Money's worth of what is earned, per money paid: rate, times both of the customer's coefficients."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """A receipt that has a quote, or has gone on from there."""

    receipt_id: str
    state: str
    customer_id: UUID
    card_number: str | None
    store_id: str
    terminal_id: str
    currency: str
    lines: Sequence[Line]
    terms: Terms
    """Those in force now."""


def price_quote(basket: Basket, opened: Opened, earning: Account, terms: Terms) -> Quote:
    """The quote for a basket, by the terms and the customer's accounts as they are now."""
    is_frozen = earning.is_frozen or opened.is_buyer_frozen
    standing = Standing(earning.spent_minor, earning.bonus_coefficient, "account_frozen" if is_frozen else None)
    pricing = price_purchase(basket.lines, None, standing, terms.currency_of(earning.kind), terms)
    by_line = payable_minor(basket.lines, terms)
    level = terms.level_at(earning.spent_minor)
    rate = 0 if pricing.withheld else level.rate_basis_points * earning.bonus_coefficient // BASIS_POINTS
    payable = [
        pay_with(account, sum(by_line), terms)
        for account in opened.holder.accounts.values()
        if (kind := terms.kind(account.kind)) is not None and terms.opens_in(kind, basket.store_id)
        if not opened.is_buyer_frozen and not account.is_frozen
    ]
    return Quote(
        terms,
        pricing,
        earning,
        by_line,
        sorted(payable, key=lambda each: (each.account.kind != MAIN, each.account.kind)),
        level.rate_basis_points,
        rate * earning.redemption_coefficient // BASIS_POINTS,
    )


def pay_with(account: Account, payable: int, terms: Terms) -> Payable:
    """The most that can be paid from this account."""
    currency = terms.currency_of(account.kind)
    points = most_points(payable, account.available, currency, account.redemption_coefficient, terms)
    return Payable(account, points, worth_minor(points, currency, account.redemption_coefficient))


async def keep(tx: Transaction, basket: Basket, buyer_id: UUID, quote: Quote) -> None:
    """Keep the quote as the state of its receipt. Raises `Problem` 409 where the purchase has gone on from there."""
    lines = [
        Line(line.line_no, line.product_id, line.category, line.quantity, line.total_minor, points, 0, 0)
        for line, points in zip(basket.lines, quote.pricing.line_points, strict=True)
    ]
    kept = await tx.sql(
        KEEP,
        basket.receipt_id,
        quote.earning.id,
        buyer_id,
        basket.card_number,
        basket.store_id,
        basket.terminal_id,
        tx.now,
        basket.currency,
        sum(line.total_minor for line in basket.lines),
        sum(line.discount_minor for line in basket.lines),
        quote.pricing.points,
        quote.pricing.level,
        quote.pricing.withheld,
        packed(lines),
    )
    if not kept:
        ((state, terminal_id),) = await tx.sql(STATE, basket.receipt_id)
        if terminal_id != basket.terminal_id:
            raise Problem(
                409, "receipt_taken", "Another till has a receipt of this id; number it anew.", field="receipt_id"
            )
        raise gone_on(state)


def gone_on(state: str) -> Problem:
    """The purchase is beyond what was asked for."""
    if state == "held":
        return Problem(409, "points_held", "Points are held for this receipt; release them first.", field="receipt_id")
    if state == "abandoned":
        return Problem(409, "purchase_abandoned", "The quote was given up; ask for a new one.", field="receipt_id")
    return Problem(409, "purchase_completed", "This purchase is completed already.", field="receipt_id")


async def read(tx: Transaction, receipt_id: str) -> Quoted | None:
    """The receipt, if it was ever quoted or credited."""
    for row in await tx.sql(READ, receipt_id):
        terms = terms_at(await terms_of(tx, row.terms), tx.now)
        return Quoted(**{**row, "lines": [Line(*line) for line in row.lines], "terms": terms})
    return None


async def abandon(tx: Transaction, receipt_ids: Sequence[str]) -> None:
    """These purchases came to nothing, as far as they have not been completed."""
    for row in await tx.sql(ABANDON, receipt_ids):
        tx.say(PurchaseAbandoned(**row, abandoned_at=tx.now))


async def abandon_stale(tx: Transaction) -> bool:
    """Give up quotes that came to nothing for as long as the terms say; True where more may be due."""
    life = timedelta(seconds=(await terms_now(tx)).quote_life_s)
    stale = await tx.sql(STALE, tx.now - life, PIECE_QUOTES)
    await abandon(tx, [row.receipt_id for row in stale])
    return len(stale) == PIECE_QUOTES
