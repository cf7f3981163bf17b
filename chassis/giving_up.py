"""Giving up what waits: after its time, or by an operator's hand, a record is a dead letter as if it were refused.

Whoever recalls a record takes its row, and so does whoever gives it up: one of the two has it.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from chassis import dead_letters, inbox, metrics
from chassis.actor import Actor
from chassis.dead_letters import DeadLetter
from chassis.envelope import DETAIL_MAX_CHARS, Unprocessable
from chassis.transaction import Transaction
from chassis.waiting import heard_again, without_phone

PIECE_RECORDS: Final = 100
OLDEST: Final = "SELECT since FROM waiting ORDER BY id LIMIT 1"
TAKE_LONGEST: Final = """
WITH taken AS (
    DELETE FROM waiting WHERE id = ANY (ARRAY(
        SELECT id FROM waiting
        WHERE id = ANY (ARRAY(SELECT id FROM waiting ORDER BY id LIMIT $2)) AND since <= $1
        ORDER BY id FOR UPDATE SKIP LOCKED
    ))
    RETURNING *
)
SELECT * FROM taken ORDER BY id
"""
"""The ids are in the order of coming, so that no index of `since` is needed. What is being recalled is left alone."""
TAKE: Final = "DELETE FROM waiting WHERE id = $1 RETURNING *"


async def give_up_long_waits(tx: Transaction, patience: timedelta, *, most: int = PIECE_RECORDS) -> bool:
    """What has waited so long becomes dead letters, the oldest first; True where more may be due."""

    def why(row: Any) -> Unprocessable:
        awaited = without_phone(row.awaits)
        detail = (
            f"waited {patience.days} days for {awaited}, which did not come; replay it when it has come, or drop it"
        )
        return Unprocessable("waited_too_long", detail)

    taken = await tx.sql(TAKE_LONGEST, tx.now - patience, most)
    await _bury(tx, taken, why)
    metrics.waited_too_long.labels(tx.service).inc(len(taken))
    oldest = await tx.sql(OLDEST)
    age_s = (tx.now - oldest[0].since).total_seconds() if oldest else 0
    metrics.waiting_age_s.labels(tx.service).set(age_s)
    return len(taken) == most


async def dismiss(tx: Transaction, id: int, who: Actor, why: str) -> bool:
    """A waiting record becomes a dead letter now; False where none waits under this id (any more)."""

    def refusal(row: Any) -> Unprocessable:
        detail = f"dismissed by {who} while it waited for {without_phone(row.awaits)}: {why}"
        return Unprocessable("dismissed", detail[:DETAIL_MAX_CHARS])

    taken = await tx.sql(TAKE, id)
    await _bury(tx, taken, refusal)
    return bool(taken)


async def _bury(tx: Transaction, rows: Sequence[Any], why: Callable[[Any], Unprocessable]) -> None:
    """Its event id is forgotten: replayed, it is heard anew and waits again, or is handled if it can be by then."""
    heard = [heard_again(row) for row in rows]
    letters = [DeadLetter(each.raw, why(row)) for each, row in zip(heard, rows, strict=True)]
    await inbox.release(tx, heard)
    await dead_letters.bury(tx, letters, group=tx.service, cap=None)
    dead_letters.note(letters, group=tx.service)
