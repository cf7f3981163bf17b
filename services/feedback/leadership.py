"""One process at a time: an advisory lock on a connection of its own, lost when the process falls silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import asyncpg

from chassis.database import Database

LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
RENEWALS_A_LEASE: Final = 4


class Leadership:
    """Ours once `is_ours()` says so, and for as long as `keep()` runs."""

    def __init__(self, session: asyncpg.Connection, name: str, lease_s: float) -> None:
        self._session = session
        self._name = name
        self._lease_s = lease_s

    async def is_ours(self) -> bool:
        """Take it if nobody has it. Asked no more than once with the answer yes: the lock counts."""
        return bool(await self._session.fetchval(LOCK, f"kopilka.{self._name}"))

    async def keep(self) -> None:
        """Show PostgreSQL that this process is alive. Raises what asyncpg raises once the lock is lost."""
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS_A_LEASE)
            await self._session.execute("SELECT 1")


@contextlib.asynccontextmanager
async def candidate(database: Database, name: str, *, lease_s: float) -> AsyncIterator[Leadership]:
    """Somebody who may lead under that name.

    PostgreSQL ends the session, and the lock with it, when the process dies or is silent for the lease (a freeze):
    another one leads then. One that wakes up finds out at its next `keep`.
    """
    session = await asyncpg.connect(
        database.url.set(drivername="postgresql").render_as_string(hide_password=False),
        timeout=10,
        command_timeout=lease_s,
        server_settings={
            "application_name": f"kopilka-{database.service}-{name}",
            "idle_session_timeout": str(int(lease_s * 1000)),
        },
    )
    try:
        yield Leadership(session, name, lease_s)
    finally:
        with contextlib.suppress(Exception):
            await session.close(timeout=2)
