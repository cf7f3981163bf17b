"""A SELECT as a file, CSV or XLSX: streamed from a server-side cursor, in one snapshot and in bounded memory.

An answer of `TransactionRoute` leaves when the request's transaction is over, so a file has a transaction of its own,
read-only, from its first row to its last. It ends, and its connection goes back, however the answer ends.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from chassis import csv_files, xlsx_files
from chassis.csv_files import CsvFile, Separator, Value
from chassis.database import Database
from chassis.field_faults import N_
from chassis.languages import preferred_language, translator
from chassis.problems import Problem
from chassis.xlsx_files import XlsxFile
from contracts.fields import Language

PIECE_ROWS: Final = 100
"""With 500 other requests wait three times as long (99 % within 139 ms instead of 45), and no file is done sooner."""
STALL_S: Final = 30
"""A reader who takes nothing for so long is given up: the snapshot of a file keeps old rows from being vacuumed."""
LONGEST_S: Final = 3600
"""No file takes longer, however slowly it is read."""
SET: Final = f"""
SELECT set_config('idle_in_transaction_session_timeout', '{2 * STALL_S}s', true),
       set_config('plan_cache_mode', 'force_custom_plan', true)
"""
"""A slow reader is no frozen process; and one plan for a day's file and for a year's would be bad for one of them."""
CONNECTIONS_FOR_OTHERS: Final = 5
"""One of so many connections may be busy with a file."""
RETRY_AFTER_S: Final = 10

Format = Literal["csv", "xlsx"]
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file.", "content": {csv_files.MEDIA_TYPE: {}, xlsx_files.MEDIA_TYPE: {}}}
}
"""What an endpoint that answers with a file says of itself in OpenAPI."""


class Column(NamedTuple):
    """A column of a file: its title, an English text of the service's catalogue, and its value in a row."""

    title: str
    of: Callable[[Any], Value]


class Turns:
    """How many files a process makes at a time, for each keeps a connection as long as its reader takes."""

    def __init__(self, connections: int) -> None:
        self._free = max(1, connections // CONNECTIONS_FOR_OTHERS)

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Raises `Problem` 429 where all are taken."""
        if self._free == 0:
            raise Problem(
                429,
                "too_many_exports",
                "As many files as the service makes at a time are being made; ask again after {seconds} s.",
                seconds=RETRY_AFTER_S,
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


@dataclass(frozen=True, slots=True)
class ExportAsked:
    """How the caller wants a file."""

    request: Request
    format: Format
    zone: ZoneInfo
    separator: Separator
    language: Language

    def of(self, select: sa.Select[Any], columns: Sequence[Column], name: str) -> "Export":
        """The answer: what the SELECT finds, in its order, as the file `name` with the format's suffix."""
        return Export(self, select, columns, name)


class Export(StreamingResponse):
    """The file as an answer."""

    def __init__(self, asked: ExportAsked, select: sa.Select[Any], columns: Sequence[Column], name: str) -> None:
        self._database: Database = asked.request.app.state.database
        self._turns: Turns = asked.request.app.state.turns
        texts: FilePath = asked.request.app.state.texts
        translate = translator(texts, asked.language).gettext
        titles = [translate(column.title) for column in columns]
        self._file: CsvFile | XlsxFile = (
            CsvFile(titles, asked.zone, asked.separator)
            if asked.format == "csv"
            else XlsxFile(titles, asked.zone, name)
        )
        self._select = select.execution_options(yield_per=PIECE_ROWS)
        self._values = [column.of for column in columns]
        headers = {
            "Content-Disposition": f'attachment; filename="{name}.{asked.format}"',
            "Content-Language": asked.language,
            "Vary": "Accept-Language",
            "Cache-Control": "no-store",
        }
        super().__init__((), headers=headers, media_type=self._file.media_type)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ClientDisconnect where the reader went away; what fails before the first byte is a problem."""
        streaming = asyncio.create_task(self._stream(send))
        watching = asyncio.create_task(_gone(receive))
        watching.add_done_callback(lambda _: streaming.cancel())
        try:
            await streaming
        except asyncio.CancelledError:
            if watching.done():
                raise ClientDisconnect from None
            raise
        finally:
            watching.cancel()

    async def _stream(self, send: Send) -> None:
        async with asyncio.timeout(LONGEST_S):
            with self._turns.one(), contextlib.closing(self._file):
                async with self._database.reading() as tx:
                    await tx.sql(SET)
                    async with tx.connection.stream(self._select) as rows:
                        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                        await _send(send, self._file.begin())
                        async for piece in rows.partitions():
                            await _send(send, await _in_thread(self._written, piece))
                await _send(send, await _in_thread(self._file.end), more=False)

    def _written(self, rows: Sequence[sa.Row[Any]]) -> bytes:
        return self._file.add([value(row) for value in self._values] for row in rows)


async def _in_thread(write: Callable[..., bytes], *arguments: object) -> bytes:
    """Who is cancelled meanwhile waits for its end: two may not be at the same file."""
    writing = asyncio.create_task(asyncio.to_thread(write, *arguments))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    try:
        async with asyncio.timeout(STALL_S):
            await send({"type": "http.response.body", "body": body, "more_body": more})
    except TimeoutError:
        raise ClientDisconnect from None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(N_("must be an IANA time zone, such as Europe/Moscow")) from None
    return name


async def _export_asked(
    request: Request,
    format: Annotated[Format, Path(description="What kind of file.")],
    time_zone: Annotated[
        str,
        AfterValidator(_zone),
        Query(max_length=64, description="Whose clock the moments are told by.", examples=["Europe/Moscow"]),
    ] = "UTC",
    separator: Annotated[
        Separator, Query(description="Of a CSV file; `semicolon` is what Excel in Russian opens, with decimal commas.")
    ] = "comma",
) -> ExportAsked:
    language = preferred_language(request.headers.get("accept-language"))
    return ExportAsked(request, format, ZoneInfo(time_zone), separator, language)


Exporting = Annotated[ExportAsked, Depends(_export_asked)]
"""How the caller wants the file, as an argument of an endpoint whose path ends with `.{format}`."""
