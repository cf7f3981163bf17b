"""Keyset pagination: a page starts behind the last row of the page before, wherever that row stands by now."""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import sqlalchemy as sa
from fastapi import Depends, Query
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints, TypeAdapter

from chassis.problems import Problem
from chassis.transaction import Transaction

T = TypeVar("T")

LIMIT_MAX: Final = 200
CURSOR_MAX_CHARS: Final = 2000


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


class PageAsked(NamedTuple):
    """How many rows, and the cursor of the page; None for the first."""

    limit: int
    cursor: str | None


async def _page_asked(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Most items on a page.")] = 50,
    cursor: Annotated[
        str | None,
        Query(max_length=CURSOR_MAX_CHARS, description="`next` of the page before; none for the first."),
    ] = None,
) -> PageAsked:
    return PageAsked(limit, cursor)


Paging = Annotated[PageAsked, Depends(_page_asked)]
"""The page that a request asks for, as an endpoint's argument."""


@dataclass(frozen=True)
class Keyset:
    """The order of a list: columns that are never null and together unique, all in one direction.

    An index on these columns makes every page equally cheap.
    """

    columns: Sequence[sa.ColumnElement[Any]]
    descending: bool = False

    async def page(
        self, tx: Transaction, select: sa.Select[Any], asked: PageAsked
    ) -> tuple[Sequence[sa.Row[Any]], str | None]:
        """The page's rows in order, and the cursor of the next page. Raises `Problem` 400 for a cursor not ours."""
        rows = (await tx.execute(self._selection(select, asked))).all()
        page = rows[: asked.limit]
        return page, self._cursor(page[-1]) if len(rows) > asked.limit else None

    def _selection(self, select: sa.Select[Any], asked: PageAsked) -> sa.Select[Any]:
        """The limit is part of the text: planned for any limit, a select with a join takes 50 times as long."""
        if asked.cursor is not None:
            select = select.where(self._behind(asked.cursor))
        return (
            select.add_columns(*(column.label(_label(place)) for place, column in enumerate(self.columns)))
            .order_by(*(column.desc() if self.descending else column.asc() for column in self.columns))
            .limit(sa.literal_column(str(asked.limit + 1)))
        )

    def _behind(self, cursor: str) -> sa.ColumnElement[bool]:
        values = zip(self._key(cursor), self.columns, strict=True)
        key = sa.tuple_(*self.columns)
        last = sa.tuple_(*(sa.literal(value, column.type) for value, column in values))
        return key < last if self.descending else key > last

    def _cursor(self, row: sa.Row[Any]) -> str:
        key = (self._order, *(getattr(row, _label(place)) for place in range(len(self.columns))))
        return base64.urlsafe_b64encode(self._keys.dump_json(key)).decode().rstrip("=")

    def _key(self, cursor: str) -> Sequence[Any]:
        """The key that the cursor carries, each value one that PostgreSQL takes for its column."""
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            return self._keys.validate_json(text)[1:]
        except ValueError:
            raise Problem(
                400,
                "bad_cursor",
                "This cursor is not one of this list; start at the first page, without a cursor.",
                field="cursor",
            ) from None

    @cached_property
    def _order(self) -> int:
        """Tells cursors of this order from those of another."""
        return zlib.crc32(" ".join([*map(str, self.columns), str(self.descending)]).encode())

    @cached_property
    def _keys(self) -> TypeAdapter[tuple[Any, ...]]:
        kinds = (Literal[self._order], *(_kind(column.type) for column in self.columns))
        return TypeAdapter(tuple.__class_getitem__(kinds))


def _label(place: int) -> str:
    return f"keyset_{place}"


def _kind(column_type: sa.types.TypeEngine[Any]) -> Any:
    """What a column's values are in a cursor; within PostgreSQL's limits, so that a forged one cannot fail there."""
    for known, kind in _KINDS:
        if isinstance(column_type, known):
            return kind
    raise TypeError(f"a keyset cannot be made of {column_type!r}")


def _int_of(bits: int) -> Any:
    return Annotated[int, Field(ge=-(2 ** (bits - 1)), lt=2 ** (bits - 1))]


_KINDS: Final[Sequence[tuple[type[sa.types.TypeEngine[Any]], Any]]] = (
    (sa.SmallInteger, _int_of(16)),
    (sa.BigInteger, _int_of(64)),
    (sa.Integer, _int_of(32)),
    (sa.Uuid, UUID),
    (sa.DateTime, AwareDatetime),
    (sa.Date, date),
    (sa.Numeric, Decimal),
    (sa.Boolean, bool),
    (sa.String, Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]),
)
