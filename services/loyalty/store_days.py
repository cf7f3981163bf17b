"""What the ledger has of each store and day, to be held against what the tills themselves say.

A purchase belongs to the day on which it was completed, by the programme's time zone; what came back of it is counted
with it, whenever and wherever it came back.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from chassis.transaction import Transaction
from services.loyalty.purchases import IN_LEDGER

TOPIC: Final = "pos.purchases"
SUMS: Final = f"""
WITH sold AS MATERIALIZED (
    SELECT (completed_at AT TIME ZONE $1)::date AS day, store_id, currency, receipt_id, total_minor, points,
           points_paid, content_hash
    FROM purchases
    WHERE at >= $2 AND at < $3 AND ($4::text IS NULL OR store_id = $4) AND state IN {IN_LEDGER}
), summed AS (
    SELECT day, store_id, currency, count(*) AS receipts, sum(total_minor) AS total_minor, sum(points) AS points,
           sum(points_paid) AS points_paid, sum(content_hash)::text AS digest
    FROM sold GROUP BY day, store_id, currency
), came_back AS (
    SELECT day, sold.store_id, currency, count(*) AS returns, sum(returns.total_minor) AS returned_minor,
           sum(returns.points) AS points_taken_back, sum(returns.refunded) AS points_refunded,
           sum(returns.content_hash)::text AS returns_digest
    FROM sold JOIN returns ON returns.receipt_id = sold.receipt_id GROUP BY day, sold.store_id, currency
)
SELECT day, store_id, currency, receipts, total_minor, points, points_paid, digest, COALESCE(returns, 0) AS returns,
       COALESCE(returned_minor, 0) AS returned_minor, COALESCE(points_taken_back, 0) AS points_taken_back,
       COALESCE(points_refunded, 0) AS points_refunded, COALESCE(returns_digest, '0') AS returns_digest
FROM summed LEFT JOIN came_back USING (day, store_id, currency)
ORDER BY day, store_id, currency
"""  # noqa: S608 (constants)
RETURNS: Final = """
SELECT returns.receipt_id, returns.return_id, returns.store_id, returns.terminal_id, returns.total_minor,
       returns.content_hash, operations.entered_at
FROM returns JOIN operations ON operations.id = returns.operation_id
WHERE returns.receipt_id = ANY ($1::text[]) ORDER BY returns.receipt_id, operations.entered_at, returns.return_id
"""
RECEIPTS: Final = f"""
SELECT purchases.receipt_id, purchases.store_id, purchases.completed_at, purchases.total_minor, purchases.content_hash,
       operations.entered_at
FROM purchases JOIN operations ON operations.id = purchases.operation_id
WHERE purchases.receipt_id = ANY ($1::text[]) AND purchases.state IN {IN_LEDGER} ORDER BY purchases.receipt_id
"""  # noqa: S608 (constants)
WAITING: Final = """
SELECT partition, "offset", awaits, since
FROM waiting JOIN unnest($2::int[], $3::bigint[]) AS asked (partition, "offset") USING (partition, "offset")
WHERE topic = $1 ORDER BY id
"""
DEAD: Final = """
SELECT partition, "offset", reason, detail, state, died_at
FROM dead_letters JOIN unnest($2::int[], $3::bigint[]) AS asked (partition, "offset") USING (partition, "offset")
WHERE topic = $1 ORDER BY died_at, id
"""


def bounds(first: date, last: date, time_zone: str) -> tuple[datetime, datetime]:
    """From the midnight that `first` begins with to the one that `last` ends with."""
    zone = ZoneInfo(time_zone)
    return datetime.combine(first, time.min, zone), datetime.combine(last + timedelta(days=1), time.min, zone)


async def sums(tx: Transaction, first: date, last: date, store_id: str | None, time_zone: str) -> Sequence[Any]:
    """A row for each day, store and currency with a receipt.

    `digest` is the sum of the receipts' content hashes (signed 64-bit hashes of the records' bytes): where it is that
    of what the tills published, every receipt is there, with that content.
    """
    return await tx.sql(SUMS, time_zone, *bounds(first, last, time_zone), store_id)


async def receipts(tx: Transaction, receipt_ids: Sequence[str]) -> Sequence[Any]:
    """Those of the receipts that are in the ledger, whatever their store and day."""
    return await tx.sql(RECEIPTS, receipt_ids)


async def returns_of(tx: Transaction, receipt_ids: Sequence[str]) -> dict[str, list[Any]]:
    """What came back, by receipt."""
    found: dict[str, list[Any]] = {}
    for row in await tx.sql(RETURNS, receipt_ids):
        found.setdefault(row.receipt_id, []).append(row)
    return found


async def waiting_at(tx: Transaction, places: Sequence[tuple[int, int]]) -> Sequence[Any]:
    """Records that tills published and that wait, by partition and offset."""
    return await tx.sql(WAITING, TOPIC, [partition for partition, _ in places], [offset for _, offset in places])


async def dead_at(tx: Transaction, places: Sequence[tuple[int, int]]) -> Sequence[Any]:
    """Records that tills published and that became dead letters, settled or not, by partition and offset."""
    return await tx.sql(DEAD, TOPIC, [partition for partition, _ in places], [offset for _, offset in places])
