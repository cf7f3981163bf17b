"""A migrated database for each module, empty at the start of each test, and instances of the service on it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.engine import make_url

from chassis.database import Database
from chassis.migrations import migrate
from chassis.settings import Settings
from services.segmentation.tables import metadata
from tests.emptying import emptying
from tests.infra import Postgres
from tests.services.segmentation.world import OpenSegmentation, Segmentation


@pytest.fixture(scope="module")
def migrated(postgres: Postgres) -> Iterator[Settings]:
    prefix = f"t{uuid.uuid4().hex[:12]}_"
    name = f"{prefix}segmentation"
    postgres.ensure_database(name)
    server = make_url(postgres.dsn(name)).set(database="postgres").render_as_string(hide_password=False)
    settings = Settings(database=server, database_prefix=prefix)
    asyncio.run(_migrate(settings))
    yield settings
    postgres.drop_database(name)


async def _migrate(settings: Settings) -> None:
    database = Database("segmentation", settings)
    await migrate(database.engine, "segmentation")
    await database.close()


@pytest.fixture
async def open_segmentation(migrated: Settings) -> AsyncIterator[OpenSegmentation]:
    """`open_segmentation()`: another instance of the service on the test's database."""
    opened: list[Segmentation] = []

    def open_one() -> Segmentation:
        opened.append(Segmentation(migrated))
        return opened[-1]

    yield open_one
    async with open_one().database.engine.begin() as connection:
        await connection.execute(emptying(metadata))
    for each in opened:
        await each.close()


@pytest.fixture
def segmentation(open_segmentation: OpenSegmentation) -> Segmentation:
    return open_segmentation()
