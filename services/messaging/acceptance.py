"""Accepting messages that are asked for: each gets its text and its channel, or the reason why it has none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

import orjson

from chassis.envelope import content_hash
from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.fields import Channel, Language
from contracts.messaging import Button, SendMessage
from contracts.records import Record
from services.messaging import facts
from services.messaging.contacts import lock_contacts
from services.messaging.nights import Night, morning_after
from services.messaging.routes import TELEGRAM, Purpose, Reach, obstacle, status_of
from services.messaging.settings import messaging_settings
from services.messaging.texts import Parameters, render

INSERT = """
INSERT INTO messages (id, message_key, asked_hash, customer_id, template, purpose, language, text, buttons, channel,
                      status, reason, traceparent, accepted_at, due_at, expires_at, settled_at)
SELECT id, message_key, asked_hash, customer_id, template, purpose, language, text, buttons::jsonb, channel,
       status, reason, traceparent, $16::timestamptz, due_at, expires_at,
       CASE WHEN status NOT IN ('accepted', 'scheduled') THEN $16::timestamptz END
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[],
            $15::timestamptz[]) WITH ORDINALITY
     AS asked (id, message_key, asked_hash, customer_id, template, purpose, language, text, buttons, channel,
               status, reason, traceparent, due_at, expires_at, place)
ORDER BY place
ON CONFLICT (message_key) DO NOTHING
RETURNING id, message_key, customer_id, template
"""
ASKED_BEFORE = "SELECT message_key, asked_hash FROM messages WHERE message_key = ANY ($1::text[])"
REUSED: Final = "message_key: was used before for another message; give every message a key of its own"


@dataclass(frozen=True, slots=True)
class Asked:
    """A message that is asked for by the record `by`. `message_key` is the asker's own unique name of it."""

    by: Record
    message_key: str
    customer_id: UUID
    template: str
    parameters: Parameters
    purpose: Purpose
    buttons: Sequence[Sequence[Button]]
    expires_at: datetime | None
    by_day: bool = False
    """Whether it waits for the morning, where the customer has night."""

    @property
    def asked_hash(self) -> int:
        """Tells the same message asked again from another one under the same key."""
        named = (self.customer_id, self.template, self.purpose, self.parameters.model_dump())
        return content_hash(orjson.dumps(named, option=orjson.OPT_SORT_KEYS))


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a message that is asked for: `reason` is None where it waits to be sent."""

    language: Language | None
    text: str | None
    channel: Channel | None
    status: Literal["accepted", "scheduled", "failed", "expired"]
    reason: str | None
    due_at: datetime | None = None
    """When one that is scheduled is to be sent."""


class Message(NamedTuple):
    """A message that is asked for, under its own id, and what becomes of it."""

    id: UUID
    asked: Asked
    decision: Decision


def decide(asked: Asked, reach: Reach | None, now: datetime, night: Night) -> Decision:
    """The customer's text and channel. Nobody's text is made who is not known here, or was erased."""
    if reach is None or reach.is_erased:
        return Decision(None, None, None, "failed", "no_channel" if reach is None else "erased")
    text = render(asked.template, reach.language, asked.parameters, reach.time_zone)
    channel = TELEGRAM if reach.telegram_chat_id is not None else None
    hindrance = obstacle(reach, purpose=asked.purpose, expires_at=asked.expires_at, now=now)
    if hindrance is None:
        due_at = morning_after(now, reach.time_zone, night) if asked.by_day else None
        if due_at is not None and (asked.expires_at is None or due_at < asked.expires_at):
            return Decision(reach.language, text, channel, "scheduled", None, due_at)
        return Decision(reach.language, text, channel, "accepted", None)
    return Decision(reach.language, text, channel, status_of(hindrance), hindrance)


async def accept(tx: Transaction, asked: Sequence[Asked]) -> None:
    """Accept each message once, in this order per customer; a key that comes again changes nothing.

    A command with a key that was used for another message is refused; news are named by what they tell of.
    """
    if not asked:
        return
    reaches = await lock_contacts(tx, (each.customer_id for each in asked))
    night = messaging_settings().night
    messages = [Message(new_id(), each, decide(each, reaches.get(each.customer_id), tx.now, night)) for each in asked]
    new = {row.id: row for row in await tx.sql(INSERT, *_columns(tx, messages), tx.now)}
    repeated = []
    for message_id, each, decision in messages:
        row = new.get(message_id)
        if row is None:
            if isinstance(each.by, SendMessage):
                repeated.append(each)
        elif decision.reason is None:
            tx.say(facts.accepted(row, TELEGRAM, tx.now), cause=each.by)
        else:
            tx.say(facts.failed(row, decision.channel, decision.reason, tx.now), cause=each.by)
    if repeated:
        await _refuse_reused_keys(tx, repeated)


def _columns(tx: Transaction, messages: Sequence[Message]) -> Sequence[Sequence[object]]:
    """The columns of `INSERT`, in its order."""
    rows = [
        (
            message_id,
            asked.message_key,
            asked.asked_hash,
            asked.customer_id,
            asked.template,
            asked.purpose,
            decision.language,
            decision.text,
            _buttons(asked) if decision.text is not None else "[]",
            decision.channel,
            decision.status,
            decision.reason,
            tx.heard(asked.by).traceparent,
            decision.due_at,
            asked.expires_at,
        )
        for message_id, asked, decision in messages
    ]
    return list(zip(*rows, strict=True))


def _buttons(asked: Asked) -> str:
    return orjson.dumps(asked.buttons).decode()


async def _refuse_reused_keys(tx: Transaction, repeated: Sequence[Asked]) -> None:
    before = {
        row.message_key: row.asked_hash for row in await tx.sql(ASKED_BEFORE, [each.message_key for each in repeated])
    }
    for each in repeated:
        if before[each.message_key] != each.asked_hash:
            tx.refuse(each.by, "message_key_reused", REUSED)
