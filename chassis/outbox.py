"""The outbox: what a transaction says is written beside what it does: neither is ever there alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from chassis.envelope import Headers, pack_headers

if TYPE_CHECKING:
    from chassis.transaction import Transaction

WRITE = """
INSERT INTO outbox (topic, key, headers, value, said_at)
SELECT topic, key, headers, value, $5
FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[]) WITH ORDINALITY
     AS words (topic, key, headers, value, place)
ORDER BY place
"""
LAST = "SELECT currval(pg_get_serial_sequence('outbox', 'id'))"
WAITS = "SELECT 1 FROM outbox WHERE id = $1"


class Word(NamedTuple):
    """One record that is to be published."""

    topic: str
    key: bytes | None
    headers: Headers
    value: bytes | None


async def write(tx: Transaction, words: Sequence[Word]) -> None:
    """Write the words in their order: the ids of the rows are the order in which the relay publishes them."""
    topics, keys, headers, values = zip(*words, strict=True)
    await tx.sql(WRITE, topics, keys, list(map(pack_headers, headers)), values, tx.now)


async def last(tx: Transaction) -> int:
    """The id of the last word that this transaction wrote; it must have written one."""
    ((word,),) = await tx.sql(LAST)
    return int(word)


async def is_gone(tx: Transaction, word: int) -> bool:
    """Whether the relay has published the word, which is committed, and so all that its transaction said before it."""
    return not await tx.sql(WAITS, word)
