"""A migrated database for each module, empty at the start of each test, and instances of the service on it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import sqlalchemy as sa

from chassis.database import Database
from chassis.migrations import migrate
from chassis.settings import Settings
from services.messaging.tables import metadata
from tests.emptying import emptying
from tests.infra import Postgres
from tests.services.messaging.bot_api import BotApi, bot_api
from tests.services.messaging.world import Messaging, Open

KEPT = ("channels", "tariffs")
NO_TROUBLE = """
UPDATE channels SET free_at = DEFAULT, paused_until = DEFAULT, troubles = 0, throttled_customer_id = NULL
"""


@pytest.fixture(scope="module")
def migrated(postgres: Postgres) -> Iterator[Settings]:
    prefix = f"t{uuid.uuid4().hex[:12]}_"
    postgres.ensure_database(f"{prefix}messaging")
    settings = Settings(database=postgres.dsn("postgres"), database_prefix=prefix)
    asyncio.run(_migrate(settings))
    yield settings
    postgres.drop_database(f"{prefix}messaging")


async def _migrate(settings: Settings) -> None:
    database = Database("messaging", settings)
    await migrate(database.engine, "messaging")
    await database.close()


@pytest.fixture
async def open_messaging(migrated: Settings) -> AsyncIterator[Open]:
    """`open_messaging()`: another instance of the service on the test's database."""
    opened: list[Messaging] = []

    def open_one() -> Messaging:
        opened.append(Messaging(migrated))
        return opened[-1]

    yield open_one
    async with open_one().database.engine.begin() as connection:
        await connection.execute(emptying(metadata, kept=KEPT))
        await connection.execute(sa.text(NO_TROUBLE))
    for each in opened:
        await each.close()


@pytest.fixture
def messaging(open_messaging: Open) -> Messaging:
    return open_messaging()


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    async with bot_api() as running:
        yield running
