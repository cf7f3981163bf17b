"""The period that a list is asked for: from a moment on, up to another one that no longer belongs to it."""

from datetime import UTC, datetime
from typing import Annotated, Final, NamedTuple

import sqlalchemy as sa
from fastapi import Depends, Query
from pydantic import AwareDatetime, Field

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)

MomentAsked = Annotated[AwareDatetime, Field(ge=EARLIEST, le=LATEST)]
"""A moment of a request: one that every time zone and PostgreSQL can take."""


class PeriodAsked(NamedTuple):
    """Open where a moment is None."""

    since: datetime | None
    until: datetime | None

    def holds(self, column: sa.ColumnElement[datetime]) -> list[sa.ColumnElement[bool]]:
        """What a row of the period fulfils."""
        return [
            *([column >= self.since] if self.since is not None else []),
            *([column < self.until] if self.until is not None else []),
        ]


async def _period_asked(
    since: Annotated[MomentAsked | None, Query(alias="from", description="Of this moment or later.")] = None,
    until: Annotated[MomentAsked | None, Query(alias="to", description="Before this moment.")] = None,
) -> PeriodAsked:
    return PeriodAsked(since, until)


Period = Annotated[PeriodAsked, Depends(_period_asked)]
"""`from` and `to` of a request, as an endpoint's argument."""
