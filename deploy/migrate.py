"""`python -m deploy.migrate`: brings the database of every service up to date, in one program.

The same as `python -m services.<name> migrate` for each of them, without starting five programs for it.
"""

import asyncio

from chassis.database import Database
from chassis.logs import configure_logs
from chassis.migrations import migrate
from chassis.settings import settings
from deploy.settings import SERVICES


async def migrate_all() -> None:
    """One after the other: Alembic's context is one a process."""
    for service in SERVICES:
        database = Database(service, settings())
        try:
            await migrate(database.engine, service)
        finally:
            await database.close()


if __name__ == "__main__":
    configure_logs("migrate", settings())
    asyncio.run(migrate_all())
