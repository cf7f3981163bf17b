"""Scoring all customers anew, in one statement (the rule is in `rfm.py`), then saying who moved."""

from datetime import timedelta

import structlog

from chassis.transaction import Transaction
from services.segmentation.merges import SURVIVORS
from services.segmentation.moves import MOST_MOVES, say_moves
from services.segmentation.rfm import SEGMENTS
from services.segmentation.window import window_days

log = structlog.get_logger()

PLAN = "SELECT set_config('work_mem', '64MB', true), set_config('enable_nestloop', 'off', true)"
"""Statistics from when there was one customer make a nested loop of two results of 100,000 rows look cheap, and that
does not end: only joins that stay linear may be planned."""

SCORE = f"""
WITH survivors AS (
    {SURVIVORS}
), spent AS (
    SELECT coalesce(survivor_id, customer_id) AS customer_id, currency, max(completed_at) AS last_purchase_at,
           count(*) AS purchases, sum(total_minor - returned_minor)::bigint AS total_minor
    FROM purchases LEFT JOIN survivors ON merged_id = customer_id
    WHERE counts AND completed_at > $1 AND completed_at <= $2
    GROUP BY 1, currency
), by_currency AS (
    SELECT customer_id, last_purchase_at, purchases,
           1 + 5 * (rank() OVER (PARTITION BY currency ORDER BY total_minor) - 1)
             / count(*) OVER (PARTITION BY currency) AS monetary
    FROM spent
), standing AS (
    SELECT customer_id, max(last_purchase_at) AS last_purchase_at, sum(purchases)::bigint AS purchases,
           max(monetary)::smallint AS monetary
    FROM by_currency
    GROUP BY customer_id
), scored AS (
    SELECT customer_id, purchases, monetary,
           (5 - 5 * (rank() OVER (ORDER BY last_purchase_at DESC) - 1) / count(*) OVER ())::smallint AS recency,
           (1 + 5 * (rank() OVER (ORDER BY purchases) - 1) / count(*) OVER ())::smallint AS frequency
    FROM standing
), segmented AS (
    SELECT *, ($3::text[])[5 * (recency - 1) + frequency] AS segment FROM scored
), counted AS (
    SELECT recency, frequency, count(*) AS customers, sum(purchases) AS purchases
    FROM segmented GROUP BY recency, frequency
), paid AS (
    SELECT recency, frequency, jsonb_object_agg(currency, total_minor) AS spent
    FROM (SELECT recency, frequency, currency, sum(total_minor)::bigint AS total_minor
          FROM spent JOIN segmented USING (customer_id) GROUP BY recency, frequency, currency) AS by_cell
    GROUP BY recency, frequency
), cells AS (
    INSERT INTO rfm_cells (recency, frequency, segment, customers, purchases, spent, window_days, scored_at)
    SELECT recency, frequency, ($3::text[])[5 * (recency - 1) + frequency], coalesce(customers, 0),
           coalesce(purchases, 0), coalesce(spent, '{{}}'), $4::int, $2
    FROM generate_series(1, 5) AS r (recency) CROSS JOIN generate_series(1, 5) AS f (frequency)
         LEFT JOIN counted USING (recency, frequency) LEFT JOIN paid USING (recency, frequency)
    ON CONFLICT (recency, frequency) DO UPDATE SET
        segment = excluded.segment, customers = excluded.customers, purchases = excluded.purchases,
        spent = excluded.spent, window_days = excluded.window_days, scored_at = excluded.scored_at
), changed AS (
    SELECT customer_id, segmented.recency, segmented.frequency, segmented.monetary, segmented.segment
    FROM segmented FULL JOIN rfm USING (customer_id)
    WHERE (segmented.recency, segmented.frequency, segmented.monetary, segmented.segment)
          IS DISTINCT FROM (rfm.recency, rfm.frequency, rfm.monetary, rfm.segment)
), stored AS (
    INSERT INTO rfm (customer_id, recency, frequency, monetary, segment, scored_at)
    SELECT customer_id, recency, frequency, monetary, segment, $2
    FROM changed JOIN features USING (customer_id)
    WHERE erased_at IS NULL
    ORDER BY customer_id
    FOR KEY SHARE OF features
    ON CONFLICT (customer_id) DO UPDATE SET
        recency = excluded.recency, frequency = excluded.frequency, monetary = excluded.monetary,
        segment = excluded.segment, scored_at = excluded.scored_at
    RETURNING 1
)
SELECT (SELECT count(*) FROM stored) AS changed, (SELECT count(*) FROM segmented) AS customers
"""  # noqa: S608 (a constant)
"""Merged records are scored as their survivor. Scores count whole customers with a smaller value (rank - 1), so that
integers alone decide and equal values score equally. Only rows that change are written. An erasure is waited for
(`erasure.py`), a purchase never is."""


async def recompute_rfm(tx: Transaction) -> bool:
    """One piece of the job: score everybody, then say who moved, a bounded number at a time; True while more is due.

    The scores are committed first. After a crash in between, the next turn begins with the moves still unsaid.
    """
    said = await say_moves(tx)
    if said:
        return said == MOST_MOVES
    return await score_everybody(tx)


async def score_everybody(tx: Transaction) -> bool:
    """True where anybody's scores are others than before. What is dated after now does not count yet."""
    days = await window_days(tx)
    await tx.sql(PLAN)
    segments = [segment for recency in sorted(SEGMENTS) for segment in SEGMENTS[recency]]
    (scored,) = await tx.sql(SCORE, tx.now - timedelta(days=days), tx.now, segments, days)
    log.info("rfm_scored", customers=scored.customers, changed=scored.changed, window_days=days)
    return bool(scored.changed)
