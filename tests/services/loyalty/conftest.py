"""A migrated database for each module, empty at the start of each test, and loyalty on it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from chassis.http import build_app
from chassis.settings import Settings
from services.loyalty.__main__ import service
from services.loyalty.api import router
from services.loyalty.tables import metadata
from tests.emptying import emptying
from tests.infra import Postgres
from tests.services.loyalty.tills import Till, with_key
from tests.services.loyalty.world import Loyalty


@pytest.fixture(scope="module")
def migrated(postgres: Postgres) -> Iterator[Settings]:
    prefix = f"t{uuid.uuid4().hex[:12]}_"
    name = f"{prefix}loyalty"
    postgres.ensure_database(name)
    server = make_url(postgres.dsn(name)).set(database="postgres").render_as_string(hide_password=False)
    settings = Settings(database=server, database_prefix=prefix)
    asyncio.run(service.migrate(settings))
    yield settings
    postgres.drop_database(name)


@pytest.fixture
async def loyalty(migrated: Settings) -> AsyncIterator[Loyalty]:
    loyalty = Loyalty(migrated)
    yield loyalty
    async with loyalty.database.engine.begin() as connection:
        await connection.execute(emptying(metadata, kept=["terms"]))
        await connection.execute(sa.text("DELETE FROM terms WHERE set_by <> 'migration'"))
    await loyalty.close()


@pytest.fixture
async def api(loyalty: Loyalty) -> AsyncIterator[httpx.AsyncClient]:
    async def ready() -> list[str]:
        return []

    app = build_app(
        "loyalty",
        router,
        loyalty.database,
        settings=loyalty.settings,
        readiness=ready,
        own_keys=service.own_keys,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
async def till(api: httpx.AsyncClient) -> Till:
    return Till(api, await with_key(api))
