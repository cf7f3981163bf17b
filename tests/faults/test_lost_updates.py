"""Two batches on the same accounts at once: the balances stay the sums of the entries, for the rows are locked first.

`UPDATE … FROM` fed by data-modifying CTEs silently skips a row that another transaction changed while it waited; and
a balance that was read without a lock is old when it is written. Both must be seen to fail without the lock.
"""

import asyncio

import pytest

from services.loyalty import accounts, reconciliation
from services.loyalty.__main__ import service
from tests.faults.chain import Chain
from tests.faults.test_unknown_cards import delivery, heard
from tests.harness import House, until, waiters
from tests.infra import Kafka, Postgres

BATCHES = 12
CHAINED = """
SELECT count(*) FROM (
    SELECT balance_after, amount, sum(amount) OVER (PARTITION BY account_id ORDER BY balance_after, operation_id) AS ran
    FROM entries WHERE balance_after IS NOT NULL
) AS entered WHERE balance_after <> ran
"""
BAD_STATEMENT = """
WITH entered AS (
    INSERT INTO trap_entries (account_id, amount) VALUES ($1::int, 1) RETURNING account_id, amount
), contra AS (
    INSERT INTO trap_entries (account_id, amount) SELECT 3, -amount FROM entered RETURNING account_id, amount
)
UPDATE trap_accounts SET balance = trap_accounts.balance + change.amount
FROM (
    SELECT account_id, sum(amount) AS amount FROM entered GROUP BY account_id
    UNION ALL
    SELECT account_id, sum(amount) FROM contra GROUP BY account_id
) AS change
WHERE trap_accounts.id = change.account_id
"""
NESTED_LOOP = "SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)"
LOCK_FIRST = "SELECT id FROM trap_accounts WHERE id IN (3, $1::int) ORDER BY id FOR UPDATE"
WRONG = """
SELECT count(*) FROM trap_accounts
WHERE balance <> (SELECT COALESCE(sum(amount), 0) FROM trap_entries WHERE account_id = trap_accounts.id)
"""


async def laws_broken(house: House) -> int:
    """Concurrent batches on five accounts; how many laws do not hold afterwards."""
    chain = Chain(house.kafka, seed=41, customers=5)
    await delivery(house).deliver(heard(chain.cards()))
    batches = []
    for _ in range(BATCHES):
        purchases = [chain.said(chain.purchase(total_minor=100_000)) for _ in range(40)]
        batches.append(heard(purchases))
    await asyncio.gather(*(delivery(house).deliver(batch) for batch in batches))
    async with house.database.reading() as tx:
        found = await reconciliation.differences(tx)
    return len(found) + int(await house.value(CHAINED))


async def test_concurrent_batches_on_the_same_accounts_lose_no_update(kafka: Kafka, postgres: Postgres) -> None:
    async with House.built(service, kafka, postgres) as house:
        assert await laws_broken(house) == 0
        assert await house.value("SELECT count(*) FROM operations") == BATCHES * 40


async def test_without_the_lock_the_same_batches_break_the_laws(
    kafka: Kafka, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_free = accounts.LOCKED.replace("FOR UPDATE OF accounts", "")
    assert lock_free != accounts.LOCKED
    monkeypatch.setattr(accounts, "LOCKED", lock_free)
    async with House.built(service, kafka, postgres) as house:
        assert await laws_broken(house) > 0


@pytest.mark.parametrize("locks_first", [True, False])
async def test_the_trap_of_postgres_snaps_unless_the_rows_are_locked_by_a_statement_of_its_own(
    kafka: Kafka, postgres: Postgres, locks_first: bool
) -> None:
    """Two customers' operations meet on account 3; the second one waits for the first, and its update is skipped."""
    async with House.built(service, kafka, postgres) as house:
        async with house.database.transaction() as tx:
            await tx.sql("CREATE TABLE trap_accounts (id int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0)")
            await tx.sql("CREATE TABLE trap_entries (account_id int NOT NULL, amount int NOT NULL)")
            await tx.sql("INSERT INTO trap_accounts (id) SELECT generate_series(1, 3)")
        first_is_in, first_may_commit = asyncio.Event(), asyncio.Event()

        async def write(customer: int) -> None:
            async with house.database.transaction() as tx:
                await tx.sql(NESTED_LOOP)
                if locks_first:
                    await tx.sql(LOCK_FIRST, customer)
                await tx.sql(BAD_STATEMENT, customer)
                if customer == 1:
                    first_is_in.set()
                    await first_may_commit.wait()

        async with asyncio.TaskGroup() as both:
            both.create_task(write(1))
            await first_is_in.wait()
            both.create_task(write(2))
            await until(lambda: waiters(house.database), what="the second one waits")
            first_may_commit.set()
        assert await house.value(WRONG) == (0 if locks_first else 1)
