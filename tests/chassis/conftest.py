"""A service's database with the chassis' tables, empty at the start of each test."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from chassis.database import Database
from chassis.settings import Settings
from chassis.tables import service_metadata

OpenDatabase = Callable[..., Awaitable[Database]]


@pytest.fixture(scope="module")
def dsn_of_the_module(module_database: Callable[[str], str]) -> str:
    return module_database("chassis")


@pytest.fixture
async def open_database(dsn_of_the_module: str) -> AsyncIterator[OpenDatabase]:
    """`await open_database(metadata, database_pool_size=3)`: a `Database` with those tables alone, all of them empty.

    Called again in the same test, it is another process' view of the same database.
    """
    here = make_url(dsn_of_the_module)
    opened: list[Database] = []

    async def open_one(metadata: sa.MetaData | None = None, **settings: object) -> Database:
        server = here.set(database="postgres").render_as_string(hide_password=False)
        database = Database(str(here.database), Settings(database=server, **settings))  # type: ignore[arg-type]
        if not opened:
            async with database.engine.begin() as connection:
                await connection.execute(sa.text("DROP SCHEMA public CASCADE"))
                await connection.execute(sa.text("CREATE SCHEMA public"))
                await connection.run_sync((metadata or service_metadata()).create_all)
        opened.append(database)
        return database

    yield open_one
    for database in opened:
        await database.close()
