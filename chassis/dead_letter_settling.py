"""What people do with dead letters: look at them, replay them after a fix, drop them. Each is settled once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from chassis.envelope import RECORD_MAX_BYTES, Headers, unpack_headers
from chassis.tables import dead_letters
from chassis.transaction import Transaction

SETTLE = """
UPDATE dead_letters SET state = $2, settled_at = $3
WHERE id = ANY (ARRAY(
    SELECT id FROM dead_letters
    WHERE id = ANY ($1::uuid[]) AND state = 'kept' AND COALESCE(octet_length(value), 0) <= $4
    ORDER BY died_at, id FOR UPDATE
))
RETURNING id
"""
ANY_SIZE = 2**31 - 1


@dataclass(frozen=True)
class KeptLetter:
    """A record that its group could not process, its bytes as they came."""

    id: UUID
    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Headers
    value: bytes | None
    reason: str
    detail: str
    died_at: datetime
    state: str
    settled_at: datetime | None


async def count_kept(tx: Transaction) -> int:
    """How many wait for somebody to replay or drop them."""
    counted = await tx.execute(sa.select(sa.func.count()).where(dead_letters.c.state == "kept"))
    return int(counted.scalar_one())


async def find(
    tx: Transaction,
    *,
    ids: Sequence[UUID] = (),
    reason: str | None = None,
    topic: str | None = None,
    settled: bool = False,
    most: int = 1000,
) -> list[KeptLetter]:
    """Those that wait (and with `settled` the others too), oldest first, narrowed by what is given."""
    query = sa.select(dead_letters).order_by(dead_letters.c.died_at, dead_letters.c.id).limit(most)
    if ids:
        query = query.where(dead_letters.c.id.in_(ids))
    if reason is not None:
        query = query.where(dead_letters.c.reason == reason)
    if topic is not None:
        query = query.where(dead_letters.c.topic == topic)
    if not settled:
        query = query.where(dead_letters.c.state == "kept")
    rows = await tx.execute(query)
    return [_letter(row) for row in rows.mappings()]


async def replay(tx: Transaction, ids: Sequence[UUID]) -> list[UUID]:
    """Publish them once more on their own topic, byte for byte, in the order in which they died.

    Gives those it replayed: one that is settled already, or is being settled at this moment by somebody else, is
    left alone, and so is one over RECORD_MAX_BYTES, which its topic took only compressed. The groups that had
    understood the record know its event id and do nothing.
    """
    replayed = await _settle(tx, ids, "replayed", RECORD_MAX_BYTES)
    letters = await find(tx, ids=replayed, settled=True, most=len(replayed)) if replayed else []
    for letter in letters:
        tx.say_raw(letter.topic, letter.key, letter.headers, letter.value)
    return [letter.id for letter in letters]


async def drop(tx: Transaction, ids: Sequence[UUID]) -> list[UUID]:
    """Nobody will process them; gives those it dropped. The copy on the dead-letter topic stays its time."""
    return await _settle(tx, ids, "dropped", ANY_SIZE)


async def _settle(tx: Transaction, ids: Sequence[UUID], state: str, largest_bytes: int) -> list[UUID]:
    return [row.id for row in await tx.sql(SETTLE, list(ids), state, tx.now, largest_bytes)]


def _letter(row: sa.RowMapping) -> KeptLetter:
    return KeptLetter(
        id=row["id"],
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        key=row["key"],
        headers=unpack_headers(row["headers"]),
        value=row["value"],
        reason=row["reason"],
        detail=row["detail"],
        died_at=row["died_at"],
        state=row["state"],
        settled_at=row["settled_at"],
    )
