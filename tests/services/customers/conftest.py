"""A migrated database for each module, emptied for each test, and instances of the service on it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from chassis.settings import Settings
from services.customers.__main__ import service
from services.customers.tables import metadata
from tests.emptying import emptying
from tests.infra import Postgres
from tests.services.customers.world import Customers, OpenCustomers


@pytest.fixture(scope="module")
def migrated(postgres: Postgres) -> Iterator[Settings]:
    prefix = f"t{uuid.uuid4().hex[:12]}_"
    name = f"{prefix}customers"
    postgres.ensure_database(name)
    server = make_url(postgres.dsn(name)).set(database="postgres").render_as_string(hide_password=False)
    settings = Settings(database=server, database_prefix=prefix)
    asyncio.run(service.migrate(settings))
    yield settings
    postgres.drop_database(name)


@pytest.fixture
async def open_customers(migrated: Settings) -> AsyncIterator[OpenCustomers]:
    """`open_customers()`: another instance of the service on the test's database."""
    opened: list[Customers] = []

    def open_one() -> Customers:
        opened.append(Customers(migrated))
        return opened[-1]

    async with open_one().database.engine.begin() as connection:
        await connection.execute(emptying(metadata))
        await connection.execute(sa.text("ALTER SEQUENCE card_numbers RESTART"))
    yield open_one
    for each in opened:
        await each.close()


@pytest.fixture
def customers(open_customers: OpenCustomers) -> Customers:
    return open_customers()
