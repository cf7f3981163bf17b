"""A past for the ledger: millions of purchases written straight into the tables, so that every law holds.

Each purchase has one line and comes round to all customers in turn; a customer earns the same at every one.
"""

from datetime import UTC, datetime

import asyncpg

from benchmarks.stage import Scene

WRITTEN_AT_ONCE = 500_000
FIRST_MS = 1_600_000_000_000
"""The ids of the operations are UUIDv7 of so many milliseconds and those that follow (September 2020)."""
PAST = f"""
SELECT number, 10 + number % $3::bigint % 50 AS points, number / $3 + 1 AS round,
       (lpad(to_hex({FIRST_MS} + number), 12, '0') || '70008000000000000000')::uuid AS id,
       ('00000000-0000-7000-8000-' || lpad(to_hex(number % $3 + 1), 12, '0'))::uuid AS account_id,
       'past-' || number AS receipt_id, '2020-09-13T12:26:40Z'::timestamptz + number * interval '1 ms' AS at
FROM generate_series($1::bigint, $2::bigint - 1) AS past (number)
"""
WRITE = (
    """
    INSERT INTO inbox (event_id, source, content_hash, heard_at)
    SELECT id, '/tills/' || number % 40 || '-1', number, at FROM past
    """,
    """
    INSERT INTO operations (id, type, account_id, points, receipt_id, occurred_at, entered_at)
    SELECT id, 'purchase', account_id, points, receipt_id, at, at FROM past
    """,
    """
    INSERT INTO entries (account_id, operation_id, amount, balance_after)
    SELECT account_id, id, points, points * round FROM past
    """,
    """
    INSERT INTO entries (account_id, operation_id, amount)
    SELECT '00000000-0000-0000-0000-000000000000', id, -points FROM past
    """,
    """
    INSERT INTO purchases (receipt_id, state, operation_id, account_id, customer_id, store_id, terminal_id,
                           completed_at, currency, total_minor, discount_minor, points, level, content_hash, lines)
    SELECT receipt_id, 'completed', id, account_id, account_id, (number % 40)::text, number % 40 || '-1', at, 'USD',
           points * 2000, 0, points, 'base', number,
           ('[[1,"820000","BREAD","1",' || points * 2000 || ',' || points || ',0,0]]')::json
    FROM past
    """,
)
WRITE_LOTS = """
INSERT INTO lots (account_id, operation_id, amount, remaining, expires_at)
SELECT account_id, id, points, points, $4::timestamptz FROM past
"""
"""$1 to $2: which of the purchases; $3: over how many customers; $4: when their points burn."""
BALANCE = """
WITH past AS (
    SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(place + 1), 12, '0'))::uuid AS account_id,
           (10 + place % 50) * ($2 / $3 + (place < $2 % $3)::int - $1 / $3 - (place < $1 % $3)::int) AS points
    FROM generate_series(0, $3::bigint - 1) AS customers (place)
)
UPDATE accounts SET balance = balance + past.points, spent_minor = spent_minor + past.points * 2000
FROM past WHERE accounts.id = past.account_id AND past.points > 0
"""
NEVER = datetime(2100, 1, 1, tzinfo=UTC)


async def write(here: Scene, first: int, until: int, customers: int, *, expire_at: datetime = NEVER) -> None:
    """Give the customers these of their past purchases, `first` not having been written yet, `until` being left out."""
    connection = await asyncpg.connect(here.dsn)
    await connection.execute("SET synchronous_commit = off")
    for start in range(first, until, WRITTEN_AT_ONCE):
        piece = (start, min(until, start + WRITTEN_AT_ONCE), customers)
        for statement in WRITE:
            await connection.execute(f"WITH past AS ({PAST}) {statement}", *piece)
        await connection.execute(f"WITH past AS ({PAST}) {WRITE_LOTS}", *piece, expire_at)
    await connection.execute(BALANCE, first, until, customers)
    await connection.close()
    await here.tidy()
