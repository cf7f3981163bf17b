"""Changing what the programme promises: a new row of terms, with who set it and what it changed. Nothing is edited."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa

from chassis.actor import Actor
from chassis.ids import new_id
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.loyalty import TermsChange, TermsChanged
from services.loyalty.tables import terms

LOCK: Final = "LOCK TABLE terms IN SHARE ROW EXCLUSIVE MODE"
"""Whoever changes terms waits for another one who does; whoever reads them waits for nobody."""
NEWEST: Final = sa.select(terms).order_by(terms.c.in_force_from.desc(), terms.c.id.desc()).limit(1)
NOT_TERMS: Final = frozenset({"id", "in_force_from", "set_by", "set_at"})


async def change_terms(tx: Transaction, asked: Mapping[str, Any], in_force_from: datetime | None, who: Actor) -> UUID:
    """New terms: the newest ones with these values instead, from now on or from a later moment.

    Raises `Problem` 422 for a moment that is past (what was promised is kept) or before the newest terms begin, 409
    where nothing is different.
    """
    await tx.sql(LOCK)
    newest = dict((await tx.execute(NEWEST)).one()._mapping)
    begins = in_force_from or tx.now
    if begins < tx.now:
        raise Problem(
            422, "terms_in_the_past", "What was promised is kept: name a later moment.", field="in_force_from"
        )
    if begins < newest["in_force_from"]:
        raise Problem(
            422,
            "terms_before_the_newest",
            "Newer terms begin at {moment}; name a moment after it.",
            moment=newest["in_force_from"].isoformat(),
            field="in_force_from",
        )
    changes = differences(newest, asked)
    if not changes:
        raise Problem(409, "terms_unchanged", "The terms are so already.")
    new = newest | dict(asked) | {"id": new_id(), "in_force_from": begins, "set_by": str(who), "set_at": tx.now}
    await tx.execute(terms.insert().values(new))
    tx.say(TermsChanged(terms_id=new["id"], in_force_from=begins, changes=changes, actor=str(who), set_at=tx.now))
    return UUID(str(new["id"]))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[TermsChange]:
    """Those of the terms `after` that were something else `before`."""
    return [
        TermsChange(term=term, before=orjson.dumps(before[term]).decode(), after=orjson.dumps(value).decode())
        for term, value in after.items()
        if term not in NOT_TERMS and before[term] != value
    ]


async def history(tx: Transaction) -> Sequence[tuple[Mapping[str, Any], list[TermsChange]]]:
    """The terms of all times, newest first, each with what it changed."""
    rows = [dict(row._mapping) for row in await tx.execute(NEWEST.limit(None))]
    return [
        (row, differences(older, row) if older is not None else [])
        for row, older in zip(rows, [*rows[1:], None], strict=True)
    ]
