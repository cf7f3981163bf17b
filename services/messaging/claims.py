"""Taking messages that are due, so that each is sent by one process, in its customer's order, at the channel's pace."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast
from uuid import UUID

from chassis.tracing import traced
from chassis.transaction import Row, Transaction
from services.messaging import facts
from services.messaging.routes import TELEGRAM, Obstacle, Reach, obstacle, status_of

AHEAD: Final = timedelta(seconds=0.5)
"""How far ahead slots are given out: long enough for a batch, short enough for consent to be fresh."""

WAITING = "SELECT 1 FROM messages WHERE status = 'accepted' LIMIT 1"
"""Asked first, without a lock: an idle dispatcher writes nothing."""
WAKE = """
UPDATE messages SET status = 'accepted' WHERE id = ANY (ARRAY(
    SELECT id FROM messages WHERE status = 'scheduled' AND due_at <= $1
    ORDER BY due_at LIMIT 50 FOR NO KEY UPDATE SKIP LOCKED
))
RETURNING id
"""
"""Those whose morning has come, some at a time and only where nothing else is due: news of a purchase that is being
made do not stand behind a hundred thousand notices of the night."""
PACE = "SELECT free_at, paused_until FROM channels WHERE channel = $1 FOR UPDATE"
"""Held until the commit: dispatchers claim one after the other, and what they send together keeps one pace."""
DUE = """
SELECT m.id, m.message_key, m.customer_id, m.template, m.purpose, m.text, m.buttons, m.attempts, m.traceparent,
       coalesce(m.due_at, m.accepted_at) AS accepted_at, m.expires_at,
       c.language, c.time_zone, c.telegram_chat_id, c.consents, c.unreachable, c.erased_at
FROM messages m JOIN contacts c USING (customer_id)
WHERE m.status = 'accepted' AND c.telegram_free_at <= $1
  AND NOT EXISTS (
      SELECT FROM messages other
      WHERE other.customer_id = m.customer_id AND other.status IN ('accepted', 'sending')
        AND other.id <> m.id AND (other.turn < m.turn OR other.status = 'sending')
  )
ORDER BY m.turn
LIMIT {most}
FOR NO KEY UPDATE OF m, c SKIP LOCKED
"""
"""The first waiting message of each customer who has none under way. Locking the contact too orders the claim and a
withdrawal of consent: what was committed before is read here, what comes after finds the message taken. The limit is
part of the text, or else the plan for any limit sorts the whole queue."""
TAKE = """
UPDATE messages SET status = 'sending', attempts = attempts + 1, sending_at = $2, lease_until = $3
WHERE id = ANY ($1::uuid[])
"""
DROP = "UPDATE messages SET status = $2, reason = $3, settled_at = $4 WHERE id = $1"
ADVANCE = "UPDATE channels SET free_at = $2 WHERE channel = $1"
NEXT_SLOT = "UPDATE channels SET free_at = greatest(free_at, $2) + $3 WHERE channel = $1 RETURNING free_at"
LOST = """
UPDATE messages SET status = 'unknown', reason = 'process_lost', settled_at = $1, lease_until = NULL
WHERE id = ANY (ARRAY(
    SELECT id FROM messages WHERE status = 'sending' AND lease_until < $1
    ORDER BY lease_until LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED
))
RETURNING id, message_key, customer_id, template, traceparent
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a channel may be used: `interval` between two messages, and how long a claim is valid."""

    interval: timedelta
    lease: timedelta


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that this process alone may send, once, at `slot` and before `lease_until`."""

    id: UUID
    message_key: str
    customer_id: UUID
    template: str
    text: str
    buttons: Sequence[Sequence[dict[str, str]]]
    chat_id: int
    attempts: int
    traceparent: str | None
    accepted_at: datetime
    slot: datetime
    lease_until: datetime


async def claim(tx: Transaction, pace: Pace, *, most: int, lead: timedelta) -> tuple[list[Claimed], bool]:
    """At most so many messages that are due, and whether any were looked at or woken: then there may be more just now.

    What may not go any more (expired, consent withdrawn, chat gone) is settled here, in the same transaction, which is
    expected to take `lead`: slots begin after it.
    """
    if not await tx.sql(WAITING):
        return [], bool(await tx.sql(WAKE, tx.now))
    (channel,) = await tx.sql(PACE, TELEGRAM)
    ready_at = tx.now + lead
    first = max(channel.free_at, ready_at)
    slots = min(most, (ready_at + AHEAD - first) // pace.interval + 1)
    if channel.paused_until > tx.now or slots <= 0:
        return [], False
    lease_until = ready_at + AHEAD + pace.lease
    rows = await tx.sql(DUE.format(most=slots), tx.now)
    claimed: list[Claimed] = []
    for row in rows:
        slot = first + len(claimed) * pace.interval
        hindrance = obstacle(Reach.of_row(row), purpose=row.purpose, expires_at=row.expires_at, now=slot)
        if hindrance is None:
            claimed.append(_claimed(row, slot, lease_until))
        else:
            await _drop(tx, row, hindrance)
    if claimed:
        await tx.sql(TAKE, [each.id for each in claimed], tx.now, lease_until)
        await tx.sql(ADVANCE, TELEGRAM, first + len(claimed) * pace.interval)
    woken = await tx.sql(WAKE, tx.now) if len(rows) < slots else []
    return claimed, bool(rows or woken)


async def another_slot(tx: Transaction, pace: Pace, *, lead: timedelta) -> datetime:
    """A slot for a message that has missed its own: sent late, it would come on top of what others send just then."""
    ((free_at,),) = await tx.sql(NEXT_SLOT, TELEGRAM, tx.now + lead, pace.interval)
    return cast(datetime, free_at) - pace.interval


async def give_up_lost(tx: Transaction) -> int:
    """Messages whose process fell silent while it sent them become unknown; how many."""
    rows = await tx.sql(LOST, tx.now)
    for row in rows:
        with traced("message lost", row.traceparent):
            tx.say(facts.outcome_unknown(row, TELEGRAM, tx.now))
    return len(rows)


async def _drop(tx: Transaction, row: Row, hindrance: Obstacle) -> None:
    await tx.sql(DROP, row.id, status_of(hindrance), hindrance, tx.now)
    with traced("message dropped", row.traceparent):
        tx.say(facts.failed(row, TELEGRAM, hindrance, tx.now))


def _claimed(row: Row, slot: datetime, lease_until: datetime) -> Claimed:
    return Claimed(
        id=row.id,
        message_key=row.message_key,
        customer_id=row.customer_id,
        template=row.template,
        text=row.text,
        buttons=row.buttons,
        chat_id=row.telegram_chat_id,
        attempts=row.attempts + 1,
        traceparent=row.traceparent,
        accepted_at=row.accepted_at,
        slot=slot,
        lease_until=lease_until,
    )
