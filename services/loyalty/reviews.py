"""Reviews: what broke a limit is flagged for the staff; verdicts.py is what they decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.limits import ReviewOpened
from contracts.purchases import PurchaseCancelled, PurchaseReturned
from contracts.records import Record
from services.loyalty.limits import Breach, Deed, count_returns, count_unmatched
from services.loyalty.terms import Limit, Terms, terms_at

OPEN: Final = """
INSERT INTO reviews (id, limit_code, per, measure, subject, counted, most, hard, receipt_id, return_id, operation_id,
                     customer_id, store_id, terminal_id, occurred_at, flagged_at)
SELECT *, $16 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                          $8::boolean[], $9::text[], $10::text[], $11::uuid[], $12::uuid[], $13::text[], $14::text[],
                          $15::timestamptz[])
"""
WHOSE: Final = "SELECT customer_id FROM identifiers WHERE identifier = $1 AND customer_id IS NOT NULL"
UNMATCHED: Final = """
INSERT INTO unmatched_returns (return_id, terminal_id, returned_at) VALUES ($1, $2, $3)
ON CONFLICT (return_id) DO NOTHING RETURNING return_id
"""
MATCHED: Final = "DELETE FROM unmatched_returns WHERE return_id = $1"


@dataclass(frozen=True, slots=True)
class Flagged:
    """A purchase or a return that broke limits."""

    breaches: Sequence[Breach]
    customer_id: UUID
    """Who bought."""
    receipt_id: str
    store_id: str
    terminal_id: str
    occurred_at: datetime
    cause: Record
    operation_id: UUID | None = None
    return_id: str | None = None
    """None: it is the purchase itself."""


async def open_reviews(tx: Transaction, flagged: Sequence[Flagged]) -> None:
    """Flag them for the staff, one review a limit, and say so."""
    opened = [(new_id(), breach, each) for each in flagged for breach in each.breaches]
    if not opened:
        return
    await tx.sql(
        OPEN,
        [review_id for review_id, _, _ in opened],
        [breach.limit.code for _, breach, _ in opened],
        [breach.limit.per for _, breach, _ in opened],
        [breach.limit.measure for _, breach, _ in opened],
        [breach.subject for _, breach, _ in opened],
        [breach.counted for _, breach, _ in opened],
        [breach.limit.most for _, breach, _ in opened],
        [breach.limit.hard for _, breach, _ in opened],
        [each.receipt_id for _, _, each in opened],
        [each.return_id for _, _, each in opened],
        [each.operation_id for _, _, each in opened],
        [each.customer_id for _, _, each in opened],
        [each.store_id for _, _, each in opened],
        [each.terminal_id for _, _, each in opened],
        [each.occurred_at for _, _, each in opened],
        tx.now,
    )
    for review_id, breach, each in opened:
        tx.say(_review_opened(tx, review_id, breach, each), cause=each.cause)


async def flag_return(
    tx: Transaction,
    event: PurchaseReturned | PurchaseCancelled,
    customer_id: UUID,
    operation_id: UUID,
    terms: Sequence[Terms],
) -> None:
    """Flag a return or cancellation, not yet recorded, that is one too many; the customer's accounts are locked."""
    deed = Deed(_when(event), event.card_number, customer_id, event.terminal_id)
    limits = _limits(terms, deed.at, "returns")
    if limits:
        counts = await count_returns(tx, deed, limits)
        breaches = counts.breaches(deed, {"returns": 1}, limits)
        await open_reviews(tx, [_flagged(event, breaches, customer_id, operation_id)])


async def flag_unmatched(tx: Transaction, event: PurchaseReturned | PurchaseCancelled, terms: Sequence[Terms]) -> None:
    """A return or cancellation waits for its purchase: count it from now on, and flag one too many. See limits.py."""
    deed = Deed(_when(event), event.card_number, None, event.terminal_id)
    limits = _limits(terms, deed.at, "unmatched_returns")
    if not limits:
        return
    for (customer_id,) in await tx.sql(WHOSE, event.key):
        counts = await count_unmatched(tx, deed, limits)
        if await tx.sql(UNMATCHED, return_id_of(event), event.terminal_id, deed.at):
            breaches = counts.breaches(deed, {"unmatched_returns": 1}, limits)
            await open_reviews(tx, [_flagged(event, breaches, customer_id, None)])


async def is_matched(tx: Transaction, event: PurchaseReturned | PurchaseCancelled, terms: Sequence[Terms]) -> None:
    """The purchase of a return is there: it is counted no longer, if it was."""
    if any(limit.measure == "unmatched_returns" for each in terms for limit in each.limits):
        await tx.sql(MATCHED, return_id_of(event))


def return_id_of(event: PurchaseReturned | PurchaseCancelled) -> str:
    """The cancellation of a purchase has no receipt of its own; there is one at most."""
    return event.return_id if isinstance(event, PurchaseReturned) else f"cancelled:{event.receipt_id}"


def _limits(terms: Sequence[Terms], at: datetime, measure: str) -> list[Limit]:
    return [limit for limit in terms_at(terms, at).limits if limit.measure == measure]


def _when(event: PurchaseReturned | PurchaseCancelled) -> datetime:
    return event.returned_at if isinstance(event, PurchaseReturned) else event.cancelled_at


def _flagged(
    event: PurchaseReturned | PurchaseCancelled,
    breaches: Sequence[Breach],
    customer_id: UUID,
    operation_id: UUID | None,
) -> Flagged:
    return Flagged(
        breaches,
        customer_id,
        event.receipt_id,
        event.store_id,
        event.terminal_id,
        _when(event),
        event,
        operation_id,
        return_id_of(event),
    )


def _review_opened(tx: Transaction, review_id: UUID, breach: Breach, flagged: Flagged) -> ReviewOpened:
    return ReviewOpened(
        review_id=review_id,
        customer_id=flagged.customer_id,
        limit=breach.limit.code,
        per=breach.limit.per,
        measure=breach.limit.measure,
        counted=breach.counted,
        most=breach.limit.most,
        hard=breach.limit.hard,
        receipt_id=flagged.receipt_id,
        return_id=flagged.receipt_id if isinstance(flagged.cause, PurchaseCancelled) else flagged.return_id,
        store_id=flagged.store_id,
        terminal_id=flagged.terminal_id,
        occurred_at=flagged.occurred_at,
        opened_at=tx.now,
    )
