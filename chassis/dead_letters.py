"""Dead letters: what a group could not process, once, with its reason, and with a cap on how many."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

import structlog

from chassis import metrics
from chassis.envelope import Headers, Raw, Unprocessable, columns, pack_headers
from chassis.ids import new_id
from chassis.outbox import Word
from chassis.transaction import Transaction
from contracts.topics import DEAD_LETTER_MAX_BYTES, TOPICS, dead_letter_topic

KEEP = """
INSERT INTO dead_letters (id, topic, partition, "offset", timestamp_ms, key, headers, value, reason, detail, died_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[],
                     $8::bytea[], $9::text[], $10::text[], $11::timestamptz[])
ON CONFLICT (topic, partition, "offset", timestamp_ms) DO NOTHING
RETURNING id
"""
RECENT = "SELECT count(*) FROM dead_letters WHERE died_at > $1 AND reason <> ALL ($2::text[])"
FORGET = """
WITH gone AS (
    DELETE FROM dead_letters WHERE id = ANY (ARRAY(
        SELECT id FROM dead_letters JOIN unnest($1::text[], $2::timestamptz[]) AS kept (topic, since) USING (topic)
        WHERE died_at < since LIMIT $3
    ))
    RETURNING 1
)
SELECT count(*) FROM gone
"""
GIVEN_UP: Final = ("waited_too_long", "dismissed")
"""Reasons of what waited in vain, see `giving_up.py`. The cap does not count them: they say nothing of the release
that is running, and thousands may be due in one hour, as many days after a day on which thousands came too early."""

log = structlog.get_logger()


class DeadLetter(NamedTuple):
    """A record and why it cannot be processed."""

    raw: Raw
    why: Unprocessable


class Cap(NamedTuple):
    """At most `most` dead letters within `window`."""

    most: int
    window: timedelta


class CapReached(Exception):
    """Too many dead letters: a bad release, more likely than bad records. The worker stops and drains nothing."""


async def bury(tx: Transaction, letters: Sequence[DeadLetter], *, group: str, cap: Cap | None) -> None:
    """Keep each dead letter once and publish it on `<topic>.<group>.dlq`; raises `CapReached` where there is a cap."""
    if not letters:
        return
    ids = [new_id() for _ in letters]
    kept = await tx.sql(
        KEEP,
        ids,
        *columns([letter.raw for letter in letters]),
        [letter.why.reason for letter in letters],
        [letter.why.detail for letter in letters],
        [tx.now] * len(letters),
    )
    if kept and cap is not None:
        await _refuse_over(cap, tx)
    new = {row.id for row in kept}
    for letter_id, letter in zip(ids, letters, strict=True):
        if letter_id in new:
            tx.say_raw(*_copy(letter, group))


def note(letters: Sequence[DeadLetter], *, group: str) -> None:
    """Count them and log each."""
    for letter in letters:
        metrics.dead_letters.labels(group, letter.raw.topic, letter.why.reason).inc()
        log.warning(
            "dead_letter",
            group=group,
            topic=letter.raw.topic,
            partition=letter.raw.partition,
            offset=letter.raw.offset,
            reason=letter.why.reason,
        )


async def forget(tx: Transaction, *, most: int = 1000) -> bool:
    """Forget those that their dead-letter topics no longer keep, personal ones first; True where more are left."""
    kept_ms = {topic: dead_letter_topic(topic, tx.service).retention_ms or 0 for topic in TOPICS}
    since = [tx.now - timedelta(milliseconds=each) for each in kept_ms.values()]
    ((forgotten,),) = await tx.sql(FORGET, list(kept_ms), since, most)
    return bool(forgotten == most)


async def _refuse_over(cap: Cap, tx: Transaction) -> None:
    ((recent,),) = await tx.sql(RECENT, tx.now - cap.window, GIVEN_UP)
    if recent > cap.most:
        raise CapReached(f"{recent} dead letters within {cap.window}, at most {cap.most} are allowed")


def _copy(letter: DeadLetter, group: str) -> Word:
    """The record with its reasons added; the reasons alone where it is too large to be published uncompressed."""
    raw, reasons = letter.raw, _reasons(letter, group)
    topic = dead_letter_topic(raw.topic, group).name
    size = len(raw.key or b"") + len(pack_headers(raw.headers)) + len(raw.value or b"")
    if size > DEAD_LETTER_MAX_BYTES:
        return Word(topic, None, (*reasons, ("dlq_bytes", str(size).encode())), None)
    return Word(topic, raw.key, raw.headers + reasons, raw.value)


def _reasons(letter: DeadLetter, group: str) -> Headers:
    raw = letter.raw
    facts = {
        "dlq_reason": letter.why.reason,
        "dlq_detail": letter.why.detail,
        "dlq_group": group,
        "dlq_topic": raw.topic,
        "dlq_partition": str(raw.partition),
        "dlq_offset": str(raw.offset),
    }
    return tuple((name, value.encode()) for name, value in facts.items())
