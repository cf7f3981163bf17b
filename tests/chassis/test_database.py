"""Sessions: none that died, was cut short or has outdated plans is used again, and SQLAlchemy's are the same ones."""

import asyncio
import contextlib

import asyncpg
import pytest
import sqlalchemy as sa

from chassis.database import Database, is_infrastructure_trouble
from chassis.retrying import said_of
from chassis.transaction import Transaction
from tests.chassis.conftest import OpenDatabase
from tests.chassis.delivery_world import book, metadata
from tests.harness import until

ENTER = "INSERT INTO book (receipt_id) VALUES ($1)"
ENTERED = "SELECT receipt_id FROM book ORDER BY place"
PID = "SELECT pg_backend_pid()"
KILL = "SELECT pg_terminate_backend(pid, 10000) FROM unnest($1::int[]) AS pid"
LEFT_OPEN = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'
"""
TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


async def entered(database: Database) -> list[str]:
    async with database.reading() as tx:
        return [receipt_id for (receipt_id,) in await tx.sql(ENTERED)]


async def all_sessions(database: Database, many: int) -> dict[int, asyncpg.Connection]:
    """So many at once, by their process ids; given back."""
    found = {}
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(many):
            tx = await stack.enter_async_context(database.transaction())
            found[await pid(tx)] = tx.session
    return found


async def pid(tx: Transaction) -> int:
    ((found,),) = await tx.sql(PID)
    return int(found)


async def kill(database: Database, *pids: int) -> None:
    async with database.looking() as tx:
        await tx.sql(KILL, pids)


async def test_a_session_that_is_killed_in_the_middle_costs_one_attempt_and_no_older_one_is_trusted(
    open_database: OpenDatabase,
) -> None:
    database, other = await open_database(metadata, database_pool_size=3), await open_database()
    known = await all_sessions(database, 3)
    with pytest.raises(TROUBLE) as caught:
        async with database.transaction() as tx:
            await tx.sql(ENTER, "lost")
            await kill(other, await pid(tx))
            await tx.sql(ENTER, "lost as well")
    assert is_infrastructure_trouble(caught.value)
    assert not known.keys() & (await all_sessions(database, 3)).keys()
    assert await entered(database) == []


async def test_what_a_request_found_is_told_though_its_session_died_meanwhile(open_database: OpenDatabase) -> None:
    database, other = await open_database(metadata), await open_database()
    with pytest.raises(KeyError):
        async with database.transaction() as tx:
            await kill(other, await pid(tx))
            await closed(tx.session)
            raise KeyError
    assert await entered(database) == []


async def test_sessions_that_are_killed_in_the_pool_cost_no_attempt(open_database: OpenDatabase) -> None:
    database, other = await open_database(metadata, database_pool_size=3), await open_database()
    known = await all_sessions(database, 3)
    await kill(other, *known)
    for session in known.values():
        await closed(session)
    assert not known.keys() & (await all_sessions(database, 3)).keys()


async def closed(session: asyncpg.Connection) -> None:
    async def is_closed() -> bool:
        return session.is_closed()

    await until(is_closed, what="the session is closed", within_s=10)


async def test_whenever_a_transaction_is_cancelled_it_leaves_nothing_open(open_database: OpenDatabase) -> None:
    database, other = await open_database(metadata), await open_database()

    async def enter(turns: int) -> None:
        async with database.transaction() as tx:
            await tx.sql(ENTER, f"{turns} cancelled")
            await tx.execute(sa.insert(book).values(receipt_id=f"{turns} cancelled as well"))

    turns = done = 0
    while done < 3:
        turns += 3
        entering = asyncio.create_task(enter(turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        entering.cancel()
        await asyncio.wait([entering])
        done += not entering.cancelled()
        before = await entered(other)
        assert [f"{turns} cancelled" in before, f"{turns} cancelled as well" in before] in ([True] * 2, [False] * 2)
        async with database.transaction() as tx:
            await tx.sql(ENTER, f"{turns} after it")
        assert await entered(other) == [*before, f"{turns} after it"]
        async with other.looking() as tx:
            ((left_open,),) = await tx.sql(LEFT_OPEN)
        assert left_open == 0


@pytest.mark.parametrize("cancels", [1, 2, 3])
async def test_a_transaction_that_is_cancelled_in_a_long_statement_gives_its_locks_back(
    open_database: OpenDatabase, cancels: int
) -> None:
    database, other = await open_database(metadata), await open_database()
    is_entered = asyncio.Event()

    async def wait_long() -> None:
        async with database.transaction() as tx:
            await tx.sql("LOCK TABLE book")
            is_entered.set()
            await tx.sql("SELECT pg_sleep(600)")

    waiting = asyncio.create_task(wait_long())
    await is_entered.wait()
    for _ in range(cancels):
        await asyncio.sleep(0)
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(10):
        assert await entered(other) == await entered(database) == []


async def test_a_look_that_is_cancelled_holds_up_nobody(open_database: OpenDatabase) -> None:
    database = await open_database(metadata)
    async with database.looking() as tx:
        looking = asyncio.create_task(tx.sql("SELECT pg_sleep(600)"))
        await asyncio.sleep(0)
        looking.cancel()
        await asyncio.wait([looking])
    async with asyncio.timeout(10):
        assert await entered(database) == []


async def test_a_table_that_changes_costs_one_attempt_however_many_sessions_have_planned_for_it(
    open_database: OpenDatabase,
) -> None:
    database, migrating = await open_database(metadata, database_pool_size=3), await open_database()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await (await stack.enter_async_context(database.transaction())).sql("SELECT * FROM book")
    async with migrating.engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE book ADD COLUMN note text"))
    with pytest.raises(asyncpg.InvalidCachedStatementError) as caught:
        async with database.transaction() as tx:
            await tx.sql("SELECT * FROM book")
    assert is_infrastructure_trouble(caught.value)
    for _ in range(3):
        async with database.transaction() as tx:
            assert await tx.sql("SELECT * FROM book") == []


async def test_native_statements_and_sqlalchemys_are_undone_together(open_database: OpenDatabase) -> None:
    database = await open_database(metadata)
    with pytest.raises(KeyError):
        async with database.transaction() as tx:
            await tx.execute(sa.insert(book).values(receipt_id="undone"))
            await tx.sql(ENTER, "undone as well")
            assert len((await tx.execute(sa.select(book))).all()) == 2
            raise KeyError
    assert await entered(database) == []


async def test_who_begins_a_transaction_of_sqlalchemys_has_one(open_database: OpenDatabase) -> None:
    database = await open_database(metadata)
    with pytest.raises(KeyError):
        async with database.engine.begin() as connection:
            await connection.execute(sa.insert(book).values(receipt_id="undone"))
            raise KeyError
    assert await entered(database) == []


async def test_who_only_reads_can_write_nothing_and_sees_one_moment(open_database: OpenDatabase) -> None:
    database, other = await open_database(metadata), await open_database()
    async with database.reading() as tx:
        assert await tx.sql(ENTERED) == []
        async with other.transaction() as writing:
            await writing.sql(ENTER, "later")
        assert (await tx.execute(sa.select(book))).all() == []
        assert await tx.sql(ENTERED) == []
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with database.reading() as tx:
            await tx.sql(ENTER, "refused")


async def test_a_row_is_a_tuple_with_names(open_database: OpenDatabase) -> None:
    database = await open_database(metadata)
    async with database.looking() as tx:
        (row,) = await tx.sql("SELECT 1 AS place, 'a' AS receipt_id, ARRAY[2, 3] AS lines")
        assert await tx.sql("SET LOCAL jit = off") == []
    place, *others = row
    assert (place, others, row[-2:], row.receipt_id) == (1, ["a", [2, 3]], ("a", [2, 3]), "a")
    assert dict(row) == {**row} == {"place": 1, "receipt_id": "a", "lines": [2, 3]}
    assert not hasattr(row, "note")


async def test_what_a_log_line_says_of_trouble_tells_no_values(open_database: OpenDatabase) -> None:
    database = await open_database(metadata)
    async with database.looking() as tx:
        await tx.sql("CREATE TABLE phones (phone text CONSTRAINT phones_key UNIQUE)")
        await tx.sql("INSERT INTO phones VALUES ('+79161234567')")
        with pytest.raises(asyncpg.UniqueViolationError, match="DETAIL") as caught:
            await tx.sql("INSERT INTO phones VALUES ('+79161234567')")
    said = said_of(caught.value)
    assert said == 'UniqueViolationError: duplicate key value violates unique constraint "phones_key"'
