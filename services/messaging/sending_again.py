"""Sending a message again, because an operator says so: nothing else sends what may have arrived."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chassis.problems import Problem
from chassis.transaction import Transaction
from services.messaging import facts
from services.messaging.contacts import lock_contacts
from services.messaging.routes import TELEGRAM, obstacle
from services.messaging.tables import messages

AGAIN = """
UPDATE messages SET status = 'accepted', channel = $2, reason = NULL, settled_at = NULL
WHERE id = $1
"""


async def send_again(tx: Transaction, message_id: UUID) -> None:
    """Put a failed or unknown message back to its old turn.

    Raises `Problem` 404 message_not_found; 409 message_not_settled, message_already_sent, text_erased, and where it
    would fail at once: message_expired, no_channel, unreachable, no_consent.
    """
    customer_id = (await _find(tx, sa.select(messages.c.customer_id), message_id)).customer_id
    reach = (await lock_contacts(tx, [customer_id])).get(customer_id)
    message = await _find(tx, sa.select(messages).with_for_update(), message_id)
    _refuse_unfit(message)
    match obstacle(reach, purpose=message.purpose, expires_at=message.expires_at, now=tx.now):
        case "expired":
            raise Problem(409, "message_expired", "The message expired; what it says is no longer true.")
        case "no_channel":
            raise Problem(409, "no_channel", "The customer has no channel that the message could be sent on.")
        case "unreachable":
            raise Problem(409, "unreachable", "The customer cannot be reached on this channel any more.")
        case "no_consent":
            raise Problem(409, "no_consent", "The customer does not allow advertising on this channel.")
    await tx.sql(AGAIN, message_id, TELEGRAM)
    tx.say(facts.accepted(message, TELEGRAM, tx.now))


async def _find(tx: Transaction, select: sa.Select[Any], message_id: UUID) -> sa.Row[Any]:
    row = (await tx.execute(select.where(messages.c.id == message_id))).first()
    if row is None:
        raise Problem(404, "message_not_found", "There is no message with this id.", field="message_id")
    return row


def _refuse_unfit(message: sa.Row[Any]) -> None:
    if message.status in ("accepted", "scheduled", "sending"):
        raise Problem(409, "message_not_settled", "The message waits to be sent already.")
    if message.status == "sent":
        raise Problem(409, "message_already_sent", "The message was sent; ask for a new one, with a new message_key.")
    if message.text is None:
        raise Problem(409, "text_erased", "The message has no text: the customer was erased, or never known here.")
