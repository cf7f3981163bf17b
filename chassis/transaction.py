"""A transaction: what a handler, a job or an HTTP request does, says and refuses, all or nothing."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox
from chassis.envelope import RECORD_MAX_BYTES, Headers, Heard, Unprocessable, encode
from chassis.ids import new_id_text
from chassis.tracing import current_traceparent
from contracts.records import Record


class Row(asyncpg.Record):
    """A row of native SQL: a tuple whose values have names as well."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Transaction:
    """Everything happens on its one connection; taking a second one inside it would deadlock the pool under load."""

    def __init__(
        self, connection: AsyncConnection, session: asyncpg.Connection, *, service: str, now: datetime
    ) -> None:
        self.connection = connection
        self.session = session
        """The same connection without SQLAlchemy, which costs more than the statement: asyncpg's own."""
        self.service = service
        self.now = now
        """The moment that everything in this transaction happens at."""
        self.refused: list[tuple[Heard, Unprocessable]] = []
        self._heard: dict[int, Heard] = {}
        self._words: list[outbox.Word] = []
        self.has_spoken = False

    async def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        """Run a SQLAlchemy statement."""
        return await self.connection.execute(statement, parameters)

    async def sql(self, statement: str, *arguments: Any) -> list[Row]:
        """Run native SQL with `$1` parameters and give all of its rows (tuples with names): arrays and `unnest`."""
        return await self.session.fetch(statement, *arguments, record_class=Row)

    def say(self, *records: Record, cause: Record | None = None) -> None:
        """Publish records when this transaction commits, in this order per key.

        Say something about an aggregate only while its row is locked by this transaction: that makes the order of
        the outbox the order of the commits. `cause` is the heard record that led to it and lends its trace. Raises
        ValueError for a record that no broker would take: in the outbox it would hold up all that come after it.
        """
        traceparent = self._traceparent(cause)
        for record in records:
            headers, value = encode(
                record, event_id=new_id_text(), source=f"/{self.service}", time=self.now, traceparent=traceparent
            )
            if len(value or b"") > RECORD_MAX_BYTES:
                raise ValueError(f"{record.type}: {len(value or b'')} bytes, at most {RECORD_MAX_BYTES} can be said")
            self._words.append(outbox.Word(record.topic, record.key.encode(), headers, value))

    def say_raw(self, topic: str, key: bytes | None, headers: Headers, value: bytes | None) -> None:
        """Publish bytes as they are: dead letters and their replay."""
        self._words.append(outbox.Word(topic, key, headers, value))

    def refuse(self, record: Record, reason: str, detail: str) -> None:
        """This heard record is impossible for the business: it goes to the dead letters, its neighbours stay.

        The caller does nothing else with it. `reason` is a stable word, `detail` names the field and the mend.
        """
        self.refused.append((self.heard(record), Unprocessable(reason, detail)))

    def is_refused(self, record: Record) -> bool:
        """Whether this heard record was refused in this transaction."""
        return any(heard.record is record for heard, _ in self.refused)

    def hearing(self, heard: Iterable[Heard]) -> None:
        """These records are being handled now."""
        self._heard |= {id(each.record): each for each in heard}

    def heard(self, record: Record) -> Heard:
        """The attributes (event id, time, source, trace) that a record being handled came with."""
        return self._heard[id(record)]

    async def write_outbox(self) -> None:
        """Write what was said; the last thing before the commit."""
        if self._words:
            await outbox.write(self, self._words)
            self._words = []
            self.has_spoken = True

    def _traceparent(self, cause: Record | None) -> str | None:
        heard = self._heard.get(id(cause)) if cause is not None else None
        return heard.traceparent if heard is not None else current_traceparent()
