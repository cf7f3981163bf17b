"""The inbox: an event that was heard before changes nothing."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chassis.envelope import Heard, Unprocessable
from chassis.transaction import Transaction

CLAIM = """
INSERT INTO inbox (event_id, source, content_hash, heard_at)
SELECT event_id, source, content_hash, $4
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) WITH ORDINALITY AS heard (event_id, source, content_hash, place)
ORDER BY event_id, source, place
ON CONFLICT DO NOTHING
RETURNING event_id, source
"""
REMEMBERED = """
SELECT event_id, source, content_hash
FROM inbox JOIN unnest($1::uuid[], $2::text[]) AS asked (event_id, source) USING (event_id, source)
"""
RELEASE = """
DELETE FROM inbox USING unnest($1::uuid[], $2::text[]) AS refused (event_id, source)
WHERE inbox.event_id = refused.event_id AND inbox.source = refused.source
"""
FORGET = """
WITH gone AS (
    DELETE FROM inbox WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM inbox WHERE heard_at < $1 LIMIT $2
    ))
    RETURNING 1
)
SELECT count(*) FROM gone
"""
REUSED = Unprocessable(
    "event_id_reused",
    "ce_id: this id and ce_source were used before for other content; give every event an id of its own",
)


async def claim(tx: Transaction, heard: Sequence[Heard]) -> list[Heard]:
    """Those of `heard` that were never heard before, in their order; the ids stay claimed if the transaction commits.

    Inserted in the order of the ids, so that two workers with the same records wait for each other instead of
    deadlocking; of one id the first in the batch counts. An id that comes again with other bytes is no redelivery but
    a mistake of its writer: refused.
    """
    if not heard:
        return []
    rows = await tx.sql(
        CLAIM,
        [each.event_id for each in heard],
        [each.source for each in heard],
        [each.content_hash for each in heard],
        tx.now,
    )
    new = {(event_id, source) for event_id, source in rows}
    fresh, repeated = [], []
    for each in heard:
        name = (each.event_id, each.source)
        if name in new:
            new.remove(name)
            fresh.append(each)
        else:
            repeated.append(each)
    if repeated:
        await _refuse_reused_ids(tx, repeated)
    return fresh


async def release(tx: Transaction, heard: Sequence[Heard]) -> None:
    """Forget ids that this transaction claimed: a dead letter that is replayed after a fix must be heard anew."""
    if heard:
        await tx.sql(RELEASE, [each.event_id for each in heard], [each.source for each in heard])


async def _refuse_reused_ids(tx: Transaction, repeated: Sequence[Heard]) -> None:
    rows = await tx.sql(REMEMBERED, [each.event_id for each in repeated], [each.source for each in repeated])
    remembered: dict[tuple[UUID, str], int] = {(event_id, source): content for event_id, source, content in rows}
    for each in repeated:
        if remembered.get((each.event_id, each.source)) != each.content_hash:
            tx.refused.append((each, REUSED))


async def forget(tx: Transaction, *, before: datetime, most: int = 10_000) -> bool:
    """Forget ids heard before that moment, a bounded number at a time; True where more may be left."""
    ((forgotten,),) = await tx.sql(FORGET, before, most)
    return bool(forgotten == most)
