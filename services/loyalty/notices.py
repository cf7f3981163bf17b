"""Notices: some days before points burn, each account's are told of, once for each day on which some do."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.transaction import Transaction
from contracts.loyalty import PointsExpiring
from services.loyalty.accounts import lock_accounts, of_account
from services.loyalty.terms import Rules, terms_now

PIECE_ACCOUNTS: Final = 500
DAYS_BEHIND_MAX: Final = 31
LAST: Final = "SELECT max(day) AS day FROM notice_days"
COLLECTED: Final = "INSERT INTO notice_days (day, collected_at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING day"
COLLECT: Final = """
INSERT INTO notices (day, account_id)
SELECT DISTINCT $1::date, account_id FROM lots WHERE remaining > 0 AND expires_at >= $2 AND expires_at < $3
"""
NEXT: Final = """
DELETE FROM notices WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM notices ORDER BY day, account_id LIMIT $1 FOR UPDATE SKIP LOCKED
)) RETURNING day, account_id
"""
ENDING: Final = """
SELECT account_id, asked.day, sum(remaining - held)::bigint AS points, min(expires_at) AS expires_at
FROM lots JOIN unnest($1::uuid[], $2::date[], $3::timestamptz[], $4::timestamptz[])
     AS asked (account_id, day, begins_at, ends_at) USING (account_id)
WHERE remaining > held AND expires_at >= begins_at AND expires_at < ends_at
GROUP BY account_id, asked.day ORDER BY asked.day, account_id
"""


async def announce_expiry(tx: Transaction) -> bool:
    """Tell of points that burn on the days that have come near; True where more may be to be told.

    The accounts of a day are collected once, then told of in pieces: what was spent meanwhile is not told of, nor what
    lies on accounts that are frozen, if their time stands still.
    """
    terms = await terms_now(tx)
    if terms.notice_days_before is None:
        return False
    if await _collect(tx, terms, terms.notice_days_before):
        return True
    told = await tx.sql(NEXT, PIECE_ACCOUNTS)
    if told:
        await _tell(tx, terms, told)
    return len(told) == PIECE_ACCOUNTS


async def _collect(tx: Transaction, terms: Rules, days_before: int) -> bool:
    """Collect the next day that has come near; True where there was one."""
    nearest = tx.now.astimezone(ZoneInfo(terms.time_zone)).date() + timedelta(days=days_before)
    last = (await tx.sql(LAST))[0].day
    day = nearest if last is None else max(last + timedelta(days=1), nearest - timedelta(days=DAYS_BEHIND_MAX))
    if day > nearest or not await tx.sql(COLLECTED, day, tx.now):
        return False
    await tx.sql(COLLECT, day, *_span(terms, day))
    return True


async def _tell(tx: Transaction, terms: Rules, told: Sequence[Any]) -> None:
    accounts = await lock_accounts(tx, list({row.account_id for row in told}))
    by_id = {account.id: account for account in accounts.values()}
    spans = [_span(terms, row.day) for row in told]
    asked: tuple[list[UUID], list[date], list[datetime], list[datetime]] = (
        [row.account_id for row in told],
        [row.day for row in told],
        [begins_at for begins_at, _ in spans],
        [ends_at for _, ends_at in spans],
    )
    for row in await tx.sql(ENDING, *asked):
        account = by_id[row.account_id]
        if account.is_frozen and not terms.lots_age_while_frozen:
            continue
        tx.say(
            PointsExpiring(
                **of_account(account), points=row.points, expires_at=row.expires_at, available=account.available
            )
        )


def _span(terms: Rules, day: date) -> tuple[datetime, datetime]:
    """A day of the programme's time zone, midnight to midnight: what burns at its last midnight burns on it."""
    zone = ZoneInfo(terms.time_zone)
    moment = timedelta(microseconds=1)
    return (
        datetime.combine(day, time(), zone) + moment,
        datetime.combine(day + timedelta(days=1), time(), zone) + moment,
    )
