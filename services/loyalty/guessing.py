"""Guessing cards: a till may ask for so many names that nobody can use, then it gets no quote at all for a while.

A refused request rolls everything back, so the guess is counted after that, in a short transaction of its own; there
the till's row is locked, and one guess too many is told 429 instead of 404. So a till never hears more 404s within 60
minutes than the terms allow, however many requests it sends at once. Known names that are asked for at the very moment
when the limit is reached may still be answered: as many as there are connections.

While it is limited, known names are answered alike: whoever guesses behind a till learns nothing by the answer.
"""

import math
from datetime import datetime, timedelta
from typing import Final

from fastapi import Request

from chassis.database import Database
from chassis.ids import new_id
from chassis.problems import Problem
from chassis.request_transaction import TransactionRoute
from chassis.transaction import Transaction
from services.loyalty.terminals import Terminal
from services.loyalty.terms import KEYS, Terms, terms_at, terms_of

WINDOW: Final = timedelta(hours=1)
GUESSES: Final = f"""
SELECT {KEYS} AS terms, ARRAY(
    SELECT guessed_at FROM guesses WHERE terminal_id = $1 AND guessed_at > $2 ORDER BY guessed_at DESC
) AS newest
"""  # noqa: S608 (a constant)
LOCK: Final = "SELECT FROM terminals WHERE terminal_id = $1 FOR NO KEY UPDATE"
FORGET: Final = "DELETE FROM guesses WHERE terminal_id = $1 AND guessed_at <= $2"
COUNT: Final = "INSERT INTO guesses (id, terminal_id, guessed_at) VALUES ($1, $2, $3)"


class GuardedRoute(TransactionRoute):
    """A till's look-up by name: what nobody can use is counted once the request's own transaction is rolled back."""

    async def refused(self, request: Request, problem: Problem) -> None:
        """Raises `Problem` 429 instead, where it was one guess too many."""
        if problem.code == no_card().code:
            database: Database = request.app.state.database
            till: Terminal = request.state.caller
            async with database.transaction() as tx:
                await _count(tx, till.terminal_id)


def no_card() -> Problem:
    """A name that is unknown, blocked or another chain's: nobody may tell from the answer which."""
    return Problem(404, "card_not_usable", "No card, phone or customer of the programme can be used by this name.")


async def terms_for_guesser(tx: Transaction, terminal_id: str) -> Terms:
    """The terms in force. Raises `Problem` 429 while the till has asked for too many names that nobody can use."""
    ((keys, newest),) = await tx.sql(GUESSES, terminal_id, tx.now - WINDOW)
    terms = terms_at(await terms_of(tx, keys), tx.now)
    most = terms.guesses_per_hour
    if len(newest) >= most:
        raise _too_many(newest[most - 1], tx.now)
    return terms


async def _count(tx: Transaction, terminal_id: str) -> None:
    await tx.sql(LOCK, terminal_id)
    await terms_for_guesser(tx, terminal_id)
    await tx.sql(FORGET, terminal_id, tx.now - WINDOW)
    await tx.sql(COUNT, new_id(), terminal_id, tx.now)


def _too_many(first: datetime, now: datetime) -> Problem:
    retry_after_s = max(1, math.ceil((first + WINDOW - now).total_seconds()))
    return Problem(
        429,
        "too_many_guesses",
        "This till has asked for too many cards that nobody can use; ask again after {seconds} s.",
        seconds=retry_after_s,
        headers={"Retry-After": str(retry_after_s)},
    )
