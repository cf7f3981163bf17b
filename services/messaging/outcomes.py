"""What a provider answered to one message, and recording it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from chassis.transaction import Transaction
from contracts.messaging import ContactWentBad
from services.messaging import facts
from services.messaging.claims import Claimed
from services.messaging.routes import TELEGRAM

PAUSE_FIRST_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took it."""

    provider_message_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider will never take it; `contact_is_bad` where the customer cannot be reached there any more."""

    reason: str
    contact_is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Throttled:
    """The provider did not take it, and will later."""

    retry_after_s: float


@dataclass(frozen=True, slots=True)
class NotSent:
    """It surely did not reach the provider, or the provider takes nothing from us at all just now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The provider may have taken it or not."""

    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """We did not send it after all: the process stops, or the channel has just been found in trouble."""


Outcome = Sent | Refused | Throttled | NotSent | Unknown | Held

LOCK_CONTACT = "SELECT 1 FROM contacts WHERE customer_id = $1 FOR NO KEY UPDATE"
SETTLE = """
UPDATE messages SET status = $3, reason = $4, provider_message_id = $5, cost_micros = $6, cost_currency = $7,
                    settled_at = $8, lease_until = NULL
WHERE id = $1 AND attempts = $2 AND status IN ('sending', 'unknown')
RETURNING id
"""
"""`attempts` tells this attempt from a later one. A definite answer that comes after the lease resolves `unknown`."""
LOSE = """
UPDATE messages SET status = 'unknown', reason = $3, settled_at = $4, lease_until = NULL
WHERE id = $1 AND attempts = $2 AND status = 'sending'
RETURNING id
"""
PUT_BACK = """
UPDATE messages SET status = CASE WHEN text IS NULL THEN 'failed' ELSE 'accepted' END,
                    reason = CASE WHEN text IS NULL THEN 'erased' END,
                    settled_at = CASE WHEN text IS NULL THEN $3::timestamptz END,
                    lease_until = NULL
WHERE id = $1 AND attempts = $2 AND lease_until = $4 AND status = 'sending'
RETURNING status
"""
"""The text is gone where the customer was erased meanwhile. The lease tells our claim from one that another process
made with the same number, when ours was put back because nobody knew whether its commit had taken place."""
TARIFF = "SELECT cost_micros, currency FROM tariffs WHERE channel = $1 AND since <= $2 ORDER BY since DESC LIMIT 1"
REST_CHAT = "UPDATE contacts SET telegram_free_at = $2 WHERE customer_id = $1"
CONTACT_IS_GOOD = """
UPDATE contacts SET telegram_bad_since = NULL WHERE customer_id = $1 AND telegram_bad_since IS NOT NULL
"""
SPOIL_CONTACT = """
UPDATE contacts SET telegram_bad_since = $3
WHERE customer_id = $1 AND telegram_chat_id = $2 AND telegram_bad_since IS NULL
RETURNING customer_id
"""
CHANNEL_WORKS = """
UPDATE channels SET troubles = 0, throttled_customer_id = NULL
WHERE channel = $1 AND (troubles > 0 OR throttled_customer_id IS NOT NULL)
"""
PAUSE_CHANNEL = """
UPDATE channels SET
    troubles = least(troubles + 1, 20),
    paused_until = $2::timestamptz + least($3::float8 * power(2::float8, troubles), $4::float8) * interval '1 second'
WHERE channel = $1 AND paused_until <= $2
"""
"""Requests that were under way together fail together: that is one trouble."""
THROTTLE_CHANNEL = """
UPDATE channels SET paused_until = CASE WHEN throttled_customer_id <> $2 THEN greatest(paused_until, $3)
                                   ELSE paused_until END,
                    throttled_customer_id = $2
WHERE channel = $1
"""
"""One chat that is told to wait waits alone. A second one, with nothing sent in between, means the whole bot."""


async def record(tx: Transaction, message: Claimed, outcome: Outcome, *, chat_interval: timedelta) -> None:
    """Write down what became of the attempt, and say so. The contact is locked before the message, as everywhere."""
    await tx.sql(LOCK_CONTACT, message.customer_id)
    chat_free_at = tx.now + chat_interval
    match outcome:
        case Sent():
            await _sent(tx, message, outcome)
            await tx.sql(CONTACT_IS_GOOD, message.customer_id)
            await tx.sql(CHANNEL_WORKS, TELEGRAM)
        case Refused():
            await _refused(tx, message, outcome)
            await tx.sql(CHANNEL_WORKS, TELEGRAM)
        case Throttled():
            chat_free_at = tx.now + timedelta(seconds=outcome.retry_after_s)
            await _put_back(tx, message)
            await tx.sql(THROTTLE_CHANNEL, TELEGRAM, message.customer_id, chat_free_at)
        case Unknown():
            await _lost(tx, message, outcome)
            await tx.sql(PAUSE_CHANNEL, TELEGRAM, tx.now, PAUSE_FIRST_S, PAUSE_MAX_S)
        case NotSent():
            await _put_back(tx, message)
            await tx.sql(PAUSE_CHANNEL, TELEGRAM, tx.now, PAUSE_FIRST_S, PAUSE_MAX_S)
            return
        case Held():
            await _put_back(tx, message)
            return
    await tx.sql(REST_CHAT, message.customer_id, chat_free_at)


async def _sent(tx: Transaction, message: Claimed, outcome: Sent) -> None:
    (tariff,) = await tx.sql(TARIFF, TELEGRAM, tx.now)
    cost = (outcome.provider_message_id, tariff.cost_micros, tariff.currency)
    if await tx.sql(SETTLE, message.id, message.attempts, "sent", None, *cost, tx.now):
        tx.say(facts.sent(message, TELEGRAM, tx.now, tariff.cost_micros, tariff.currency))


async def _refused(tx: Transaction, message: Claimed, outcome: Refused) -> None:
    nothing = (None, None, None)
    if await tx.sql(SETTLE, message.id, message.attempts, "failed", outcome.reason, *nothing, tx.now):
        tx.say(facts.failed(message, TELEGRAM, outcome.reason, tx.now))
    if outcome.contact_is_bad and await tx.sql(SPOIL_CONTACT, message.customer_id, message.chat_id, tx.now):
        tx.say(ContactWentBad(customer_id=message.customer_id, channel=TELEGRAM, reason=outcome.reason, since=tx.now))


async def _put_back(tx: Transaction, message: Claimed) -> None:
    """It waits again, at its old turn."""
    rows = await tx.sql(PUT_BACK, message.id, message.attempts, tx.now, message.lease_until)
    if rows and rows[0].status == "failed":
        tx.say(facts.failed(message, TELEGRAM, "erased", tx.now))


async def _lost(tx: Transaction, message: Claimed, outcome: Unknown) -> None:
    if await tx.sql(LOSE, message.id, message.attempts, outcome.reason, tx.now):
        tx.say(facts.outcome_unknown(message, TELEGRAM, tx.now))
