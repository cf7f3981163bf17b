"""One service's PostgreSQL: its connections, its transactions, and which of its errors mean "try again"."""

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chassis.settings import Settings
from chassis.transaction import Transaction

BATCH_CONNECTIONS = 2
"""One for each batch that a worker has in hand at once."""
BATCH_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""A statement over `unnest` arrays has one good plan: some hundred look-ups by index. Planning it anew for each small
batch costs as much as running it; and one planned while its table was empty would read the whole table each time, for
as long as the session lives (measured: 30 s of 34 s after 30,000 purchases)."""
STATEMENTS_KEPT: Final = 400
"""Prepared, in each session and for as long as it lives; loyalty with the chassis has some 160."""
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of a running service; tests pass another one."""
    return datetime.now(UTC)


def database_url(settings: Settings, service: str) -> sa.URL:
    """The URL of a service's own database, beside the one that the settings name."""
    return make_url(settings.database).set(
        drivername="postgresql+asyncpg", database=f"{settings.database_prefix}{service}"
    )


class Database:
    """The service's database. Every change of state happens in a `transaction()`."""

    def __init__(self, service: str, settings: Settings, *, clock: Clock = utc_now, for_batches: bool = False) -> None:
        """`for_batches`: plans for set-based statements over a batch, see BATCH_PLANS."""
        self.service = service
        self.url = database_url(settings, service)
        self.clock = clock
        self._on_commit: list[Callable[[], None]] = []
        self._engine: AsyncEngine = create_async_engine(
            self.url,
            isolation_level="AUTOCOMMIT",
            pool_size=BATCH_CONNECTIONS if for_batches else settings.database_pool_size,
            max_overflow=0,
            pool_timeout=30,
            hide_parameters=True,
            connect_args={
                "timeout": 10,
                "statement_cache_size": STATEMENTS_KEPT,
                "max_cached_statement_lifetime": 0,
                "server_settings": self._settings_of_sessions(settings) | (BATCH_PLANS if for_batches else {}),
            },
        )
        self.engine = self._engine.execution_options(isolation_level="READ COMMITTED")
        """The same connections for who begins transactions of SQLAlchemy's own: migrations, not what runs often."""
        self._is_outdated = False
        sa.event.listen(self._engine.sync_engine, "checkout", self._refuse_outdated)

    def _settings_of_sessions(self, settings: Settings) -> dict[str, str]:
        """Each session's settings.

        A process that was frozen in the middle of a transaction must not keep its row locks: PostgreSQL ends it.
        """
        return {
            "application_name": f"kopilka-{self.service}",
            "timezone": "UTC",
            "jit": "off",
            "idle_in_transaction_session_timeout": str(int(settings.transaction_idle_timeout_s * 1000)),
        }

    def on_commit_of_words(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each commit that put something into the outbox."""
        self._on_commit.append(wake)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction on one connection: committed with its outbox at the end, rolled back on an exception."""
        async with self._begun() as tx:
            yield tx
            await tx.write_outbox()
        if tx.has_spoken:
            for wake in self._on_commit:
                wake()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """A read-only transaction with one snapshot for all of its queries."""
        async with self._begun(isolation="repeatable_read", readonly=True) as tx:
            yield tx

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[Transaction]:
        """For one look: each query is a transaction of its own, in one round trip instead of three.

        Where a session was found dead, or with plans for tables that have changed, no older one is trusted.
        """
        async with self._engine.connect() as connection:
            session = _session(connection)
            try:
                yield Transaction(connection, session, service=self.service, now=self.clock())
            except Exception as error:
                self._is_outdated |= session.is_closed() or isinstance(error, asyncpg.InvalidCachedStatementError)
                raise

    @contextlib.asynccontextmanager
    async def _begun(self, **options: Any) -> AsyncIterator[Transaction]:
        """A transaction of asyncpg's. A session that is not known to have left it is not used again."""
        async with self.looking() as tx:
            transaction = tx.session.transaction(**options)
            has_ended = False
            try:
                await transaction.start()
                try:
                    yield tx
                except Exception:
                    if not tx.session.is_closed():
                        await transaction.rollback()
                        has_ended = True
                    raise
                await transaction.commit()
                has_ended = True
            finally:
                if not has_ended:
                    await tx.connection.invalidate()

    def _refuse_outdated(self, connection: Any, _record: object, _proxy: object) -> None:
        """Before a session is taken out of the pool; one that has died there is known without asking PostgreSQL."""
        if self._is_outdated or connection.driver_connection.is_closed():
            self._is_outdated = False
            raise sa.exc.InvalidatePoolError

    async def is_reachable(self) -> bool:
        """Whether a query is answered."""
        try:
            async with self._engine.connect() as connection:
                await connection.execute(sa.text("SELECT 1"))
        except (sa.exc.DBAPIError, OSError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        await self._engine.dispose()


def _session(connection: AsyncConnection) -> asyncpg.Connection:
    assert connection.sync_connection is not None
    session = connection.sync_connection.connection.driver_connection
    assert isinstance(session, asyncpg.Connection)
    return session


INFRASTRUCTURE_CLASSES = ("08", "25", "28", "3D", "40", "42", "53", "55", "57", "58", "F0", "XX")
"""SQLSTATE classes that no single record is to blame for: connection, transaction state, login, missing database,
deadlock and serialization, missing table or column (a migration that has not run), resources, locks, operator
intervention, system errors (PostgreSQL documentation, appendix A)."""


def is_infrastructure_trouble(error: BaseException) -> bool:
    """Whether the same work may succeed later without any change to it."""
    if isinstance(error, sa.exc.DBAPIError):
        if error.connection_invalidated:
            return True
        state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
        return state is None or str(state)[:2] in INFRASTRUCTURE_CLASSES
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return True
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] in INFRASTRUCTURE_CLASSES
    # InternalClientError: what asyncpg makes of a session that PostgreSQL ended while it was idle.
    return isinstance(
        error, OSError | TimeoutError | sa.exc.TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError
    )
