"""A migrated database for each module, emptied after each test, the sandbox's Telegram, and instances on them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chassis.database import Database
from chassis.migrations import migrate
from chassis.settings import Settings
from services.feedback.tables import metadata
from tests.emptying import emptying
from tests.infra import Postgres
from tests.services.feedback.world import Feedback, OpenFeedback
from tests.telegram_sandbox import RunningSandbox, telegram_sandbox


@pytest.fixture(scope="module")
def migrated(postgres: Postgres) -> Iterator[Settings]:
    prefix = f"t{uuid.uuid4().hex[:12]}_"
    postgres.ensure_database(f"{prefix}feedback")
    settings = Settings(database=postgres.dsn("postgres"), database_prefix=prefix)
    asyncio.run(_migrate(settings))
    yield settings
    postgres.drop_database(f"{prefix}feedback")


async def _migrate(settings: Settings) -> None:
    database = Database("feedback", settings)
    await migrate(database.engine, "feedback")
    await database.close()


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[RunningSandbox]:
    async with telegram_sandbox(tmp_path) as running:
        yield running


@pytest.fixture
async def open_feedback(migrated: Settings, sandbox: RunningSandbox) -> AsyncIterator[OpenFeedback]:
    """`open_feedback()`: another instance of the service on the test's database."""
    opened: list[Feedback] = []

    def open_one() -> Feedback:
        opened.append(Feedback(migrated, sandbox))
        return opened[-1]

    yield open_one
    async with open_one().database.engine.begin() as connection:
        await connection.execute(emptying(metadata))
    for each in opened:
        await each.close()


@pytest.fixture
def feedback(open_feedback: OpenFeedback) -> Feedback:
    return open_feedback()
