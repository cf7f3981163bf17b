"""Records that came before what they need: kept whole, handled when it comes, refused from there if they must be.

What never comes is given up after a while, see `giving_up.py`. To lose no wake-up, whoever keeps and whoever recalls
lock the same row (of the card, the receipt …) before they do.
"""

from collections.abc import Sequence
from typing import Any

from chassis.envelope import Heard, Raw, columns, decode, unpack_headers
from chassis.transaction import Transaction
from contracts.records import BY_TYPE, Record

KEEP = """
INSERT INTO waiting (awaits, topic, partition, "offset", timestamp_ms, key, headers, value, since)
SELECT awaits, topic, partition, "offset", timestamp_ms, key, headers, value, $9
FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[], $8::bytea[])
     WITH ORDINALITY AS kept (awaits, topic, partition, "offset", timestamp_ms, key, headers, value, place)
ORDER BY place
"""
RECALL = """
WITH recalled AS (DELETE FROM waiting WHERE awaits = ANY ($1::text[]) RETURNING *)
SELECT topic, partition, "offset", timestamp_ms, key, headers, value FROM recalled ORDER BY id
"""
UNLIMITED = 1 << 30


async def keep(tx: Transaction, records: Sequence[Record], *, awaits: Sequence[str]) -> None:
    """Keep heard records until somebody recalls what each of them awaits (`card:2900000000018`)."""
    await tx.sql(KEEP, awaits, *columns([tx.heard(record).raw for record in records]), tx.now)


async def recall(tx: Transaction, awaited: Sequence[str]) -> list[Record]:
    """The records that waited for any of these, in the order they came; the caller handles each in this transaction."""
    if not awaited:
        return []
    heard = [heard_again(row) for row in await tx.sql(RECALL, awaited)]
    tx.hearing(heard)
    return [each.record for each in heard]


def heard_again(row: Any) -> Heard:
    """The record of a row of `waiting` as it was heard; it was understood when it was kept."""
    raw = Raw(row.topic, row.partition, row.offset, row.timestamp_ms, row.key, row.value, unpack_headers(row.headers))
    heard = decode(raw, BY_TYPE, value_max_bytes=UNLIMITED)
    assert heard is not None
    return heard


def without_phone(awaits: str) -> str:
    """What is waited for, for people's eyes: phones are personal, of one the last four digits are shown."""
    kind, _, identifier = awaits.partition(":")
    return f"phone:…{identifier[-4:]}" if kind == "phone" else awaits
