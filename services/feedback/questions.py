"""The NPS question after a purchase: asked of who bought, through messaging, once a receipt, and not too often."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.loyalty import PointsAccrued
from contracts.messaging import Button, SendMessage

FRESH: Final = timedelta(days=1)
"""Nobody is asked about a purchase whose news is older: after an outage, or when a topic is read anew."""
ANSWER_WITHIN: Final = timedelta(days=1)
"""A question that messaging could not send by then is not sent any more."""
SCORE_ROWS: Final = (range(6), range(6, 11))

ASKABLE: Final = """
SELECT customers.customer_id, customers.asked_at FROM customers JOIN chats USING (chat_id)
WHERE customers.customer_id = ANY ($1) AND customers.is_reachable AND chats.blocked_at IS NULL
ORDER BY customers.customer_id FOR UPDATE OF customers
"""
KEEP: Final = """
INSERT INTO questions (id, customer_id, receipt_id, store_id, asked_at)
SELECT id, customer_id, receipt_id, store_id, $5
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS asked (id, customer_id, receipt_id, store_id)
ORDER BY receipt_id
ON CONFLICT DO NOTHING
RETURNING id
"""
KNOWN: Final = "SELECT receipt_id FROM questions WHERE receipt_id = ANY ($1)"
NOTE: Final = "UPDATE customers SET asked_at = $2 WHERE customer_id = ANY ($1)"


async def ask_after_purchases(tx: Transaction, purchases: Sequence[PointsAccrued], *, pause: timedelta) -> None:
    """Ask about those of `purchases` that may be asked about now."""
    fresh = [purchase for purchase in purchases if tx.now - tx.heard(purchase).time <= FRESH]
    if not fresh:
        return
    askable = {row.customer_id: row for row in await tx.sql(ASKABLE, [purchase.bought_by for purchase in fresh])}
    if not askable:
        return
    known = {receipt_id for (receipt_id,) in await tx.sql(KNOWN, [purchase.receipt_id for purchase in fresh])}
    chosen = _choose(tx, [purchase for purchase in fresh if purchase.receipt_id not in known], askable, pause)
    if not chosen:
        return
    kept = await tx.sql(
        KEEP,
        list(chosen),
        [purchase.bought_by for purchase in chosen.values()],
        [purchase.receipt_id for purchase in chosen.values()],
        [purchase.store_id for purchase in chosen.values()],
        tx.now,
    )
    asked = {question_id: chosen[question_id] for (question_id,) in kept}
    await tx.sql(NOTE, [purchase.bought_by for purchase in asked.values()], tx.now)
    for question_id, purchase in asked.items():
        tx.say(_question(question_id, purchase, tx), cause=purchase)


def _choose(
    tx: Transaction, purchases: Sequence[PointsAccrued], askable: dict[UUID, Any], pause: timedelta
) -> dict[UUID, PointsAccrued]:
    """The purchases to ask about, by the ids of their questions; with a pause of 0 every one of them."""
    asked_at = {customer_id: row.asked_at for customer_id, row in askable.items()}
    chosen: dict[UUID, PointsAccrued] = {}
    for purchase in {purchase.receipt_id: purchase for purchase in purchases}.values():
        if purchase.bought_by not in askable:
            continue
        last = asked_at[purchase.bought_by]
        if last is None or tx.now - last >= pause:
            asked_at[purchase.bought_by] = tx.now
            chosen[new_id()] = purchase
    return chosen


def _question(question_id: UUID, purchase: PointsAccrued, tx: Transaction) -> SendMessage:
    return SendMessage(
        message_key=f"nps:{question_id}",
        customer_id=purchase.bought_by,
        template="nps_question",
        parameters={
            "store_id": purchase.store_id,
            "total_minor": purchase.total_minor,
            "currency": purchase.currency,
        },
        purpose="service",
        buttons=[
            [Button(label=str(score), data=button_data(question_id, score)) for score in row] for row in SCORE_ROWS
        ],
        expires_at=tx.now + ANSWER_WITHIN,
    )


def button_data(question_id: UUID, score: int) -> str:
    """What a press of the score comes back as."""
    return f"nps:{question_id}:{score}"
