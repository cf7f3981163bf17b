"""Activation: points that were earned some time ago can be spent from now on. In bounded pieces."""

from collections import defaultdict
from typing import Final
from uuid import UUID

from prometheus_client import Counter, Gauge

from chassis.transaction import Transaction
from contracts.loyalty import PointsActivated
from services.loyalty import ledger
from services.loyalty.accounts import lock_accounts, of_account
from services.loyalty.balances import say_balances

PIECE_LOTS: Final = 500
DUE: Final = """
SELECT account_id, $1 - activates_at FROM lots WHERE pending AND activates_at <= $1 ORDER BY activates_at LIMIT $2
"""
ACTIVATE: Final = """
UPDATE lots SET pending = false WHERE account_id = ANY ($1::uuid[]) AND pending AND activates_at <= $2
RETURNING account_id, remaining
"""

activated = Counter("kopilka_points_activated_total", "Points that can be spent since their time has come.")
behind_s = Gauge("kopilka_activation_behind_s", "How long ago the oldest points that are still pending were due.")


async def activate_due_lots(tx: Transaction) -> bool:
    """Let points be spent whose time has come; True where more may be due.

    Each account has one event for all of its lots; what was taken back of them before is not told of.
    """
    due = await tx.sql(DUE, tx.now, PIECE_LOTS)
    behind_s.set(due[0][1].total_seconds() if due else 0)
    if not due:
        return False
    accounts = await lock_accounts(tx, list({row.account_id for row in due}))
    by_id = {account.id: account for account in accounts.values()}
    points: dict[UUID, int] = defaultdict(int)
    for account_id, remaining in await tx.sql(ACTIVATE, list({row.account_id for row in due}), tx.now):
        points[account_id] += remaining
    now_spendable = [(by_id[account_id], freed) for account_id, freed in points.items() if freed]
    for account, freed in now_spendable:
        account.pending -= freed
        tx.say(
            PointsActivated(**of_account(account), points=freed, activated_at=tx.now, available_after=account.available)
        )
        activated.inc(freed)
    await ledger.write_figures(tx, [account for account, _ in now_spendable])
    say_balances(tx, [account for account, _ in now_spendable])
    return len(due) == PIECE_LOTS
