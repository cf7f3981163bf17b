"""The programme's terms: what a purchase earns, at which level, in which money. Data with history, no setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa
from pydantic import BaseModel, Field, TypeAdapter

from chassis.transaction import Transaction
from contracts.fields import Code
from services.loyalty import tables


class Level(BaseModel, frozen=True):
    """A level of the programme: reached by what was spent so far, it decides the rate of accrual."""

    code: Code
    spent_minor_from: int = Field(ge=0)
    rate_basis_points: int = Field(ge=0, le=10_000)


@dataclass(frozen=True)
class Terms:
    """What the programme promises from `in_force_from` on. `point_worth_minor`: money that one point stands for."""

    in_force_from: datetime
    set_by: str
    set_at: datetime
    points_currency: str
    point_worth_minor: int
    currencies: frozenset[str]
    levels: tuple[Level, ...]
    """By `spent_minor_from`, ascending; the first starts at zero."""
    lot_life: timedelta | None
    lots_age_while_frozen: bool
    """Whether points burn at their time though nobody can spend them; else they live as much longer."""
    returned_but_spent: Literal["other_lots", "write_off"]
    """Where the points that a returned line earned are spent already: taken from other lots, or given up."""

    def level_at(self, spent_minor: int) -> Level:
        """The highest level reached by so much spent."""
        reached = self.levels[0]
        for level in self.levels[1:]:
            if level.spent_minor_from > spent_minor:
                break
            reached = level
        return reached


LEVELS = TypeAdapter(list[Level])
ALL = sa.select(tables.terms).order_by(tables.terms.c.in_force_from.desc(), tables.terms.c.id.desc())


async def all_terms(tx: Transaction) -> Sequence[Terms]:
    """The terms of all times, newest first; there are a handful."""
    return [
        Terms(
            in_force_from=row.in_force_from,
            set_by=row.set_by,
            set_at=row.set_at,
            points_currency=row.points_currency,
            point_worth_minor=row.point_worth_minor,
            currencies=frozenset(row.currencies),
            levels=tuple(sorted(LEVELS.validate_python(row.levels), key=lambda level: level.spent_minor_from)),
            lot_life=None if row.lot_life_days is None else timedelta(days=row.lot_life_days),
            lots_age_while_frozen=row.lots_age_while_frozen,
            returned_but_spent=row.returned_but_spent,
        )
        for row in await tx.execute(ALL)
    ]


async def terms_now(tx: Transaction) -> Terms:
    """Those in force; later ones may be planned already."""
    return terms_at(await all_terms(tx), tx.now)


def terms_at(terms: Sequence[Terms], moment: datetime) -> Terms:
    """Those in force at that moment; what is older than all terms goes by the oldest. `terms`: newest first."""
    for each in terms:
        if each.in_force_from <= moment:
            return each
    return terms[-1]
