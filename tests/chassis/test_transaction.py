"""Transactions: all or nothing with their outbox, and no lock outlives a process that fell silent."""

import asyncio

import asyncpg
import pytest
import sqlalchemy as sa

from chassis.database import Database, is_infrastructure_trouble
from chassis.ids import new_id
from contracts.feedback import AppealOpened
from contracts.messaging import Button, SendMessage
from tests.chassis.conftest import OpenDatabase
from tests.chassis.delivery_world import book, metadata
from tests.harness import waiters

LOCK = "SELECT place FROM book FOR UPDATE"
ENTER = "INSERT INTO book (receipt_id) VALUES ('a')"


async def entered(database: Database) -> int:
    async with database.reading() as tx:
        return int((await tx.execute(sa.select(sa.func.count()).select_from(book))).scalar_one())


async def test_what_is_said_in_a_transaction_that_fails_is_not_said(open_database: OpenDatabase) -> None:
    database = await open_database(metadata)
    woken: list[None] = []
    database.on_commit_of_words(lambda: woken.append(None))
    with pytest.raises(KeyError):
        async with database.transaction() as tx:
            await tx.sql(ENTER)
            tx.say(AppealOpened(customer_id=new_id(), appeal_id=new_id(), opened_at=tx.now))
            await tx.write_outbox()
            raise KeyError
    async with database.reading() as tx:
        assert await tx.sql("SELECT id FROM outbox") == []
    assert await entered(database) == 0
    assert woken == []


async def test_what_no_broker_would_take_is_not_said_so_that_it_holds_up_nobody(open_database: OpenDatabase) -> None:
    database = await open_database(metadata)
    large = SendMessage(
        message_key="m",
        customer_id=new_id(),
        template="purchase",
        parameters={str(number): "я" * 500 for number in range(50)},
        purpose="service",
        buttons=[[Button(label="я" * 64, data="d" * 64)] * 500] * 10,
    )
    with pytest.raises(ValueError, match="at most 1000000 can be said"):
        async with database.transaction() as tx:
            tx.say(large)


async def test_a_process_that_falls_silent_in_a_transaction_keeps_its_locks_for_a_while_only(
    open_database: OpenDatabase,
) -> None:
    frozen = await open_database(metadata, transaction_idle_timeout_s=1)
    awake = await open_database()
    async with awake.transaction() as tx:
        await tx.sql(ENTER)
    frozen_has_it, other_has_it = asyncio.Event(), asyncio.Event()

    async def freeze() -> None:
        async with frozen.transaction() as tx:
            await tx.sql(LOCK)
            frozen_has_it.set()
            await other_has_it.wait()
            await tx.sql(ENTER)

    freezing = asyncio.create_task(freeze())
    await frozen_has_it.wait()
    async with asyncio.timeout(10), awake.transaction() as tx:
        await tx.sql(LOCK)
    other_has_it.set()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)) as caught:
        await freezing
    assert is_infrastructure_trouble(caught.value)
    assert await entered(awake) == 1
    assert await waiters(awake) == 0


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        ConnectionResetError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_asyncpg_makes_of_a_session_that_was_ended_is_worth_another_try(error: Exception) -> None:
    assert is_infrastructure_trouble(error)
