"""A service's schema, brought up to date by Alembic under a lock, so that several instances may start at once."""

import importlib
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis.migrations.first_tables import create_chassis_tables

__all__ = ["create_chassis_tables", "differences", "migrate"]

LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kopilka.migrations', 0))")


async def migrate(engine: AsyncEngine, service: str) -> None:
    """Run the migrations of `services/<service>/migrations` that have not run yet, all in one transaction."""
    async with engine.begin() as connection:
        await connection.execute(LOCK)
        await connection.run_sync(lambda sync: command.upgrade(_config(sync, service), "head"))


async def differences(engine: AsyncEngine, service: str) -> list[object]:
    """What `tables.py` says and the migrated database has not, or the other way round."""
    async with engine.connect() as connection:
        return await connection.run_sync(lambda sync: _differences(sync, service))


def _differences(connection: sa.Connection, service: str) -> list[object]:
    version_table = _version_table(service)
    context = MigrationContext.configure(
        connection,
        opts={
            "version_table": version_table,
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or name != version_table,
        },
    )
    return list(compare_metadata(context, _metadata(service)))


def _config(connection: sa.Connection, service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", str(_folder(service)))
    config.attributes["connection"] = connection
    config.attributes["metadata"] = _metadata(service)
    config.attributes["version_table"] = _version_table(service)
    return config


def _folder(service: str) -> Path:
    package = importlib.import_module(f"services.{service}")
    return Path(package.__path__[0]) / "migrations"


def _metadata(service: str) -> sa.MetaData:
    metadata = importlib.import_module(f"services.{service}.tables").metadata
    assert isinstance(metadata, sa.MetaData)
    return metadata


def _version_table(service: str) -> str:
    return f"{service}_migrations"
