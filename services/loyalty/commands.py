"""Points on an occasion that other programs ask for: a birthday, a referral. Each command is carried out once."""

from typing import Final

from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.loyalty_commands import AccruePoints, BurnPoints
from services.loyalty.accounts import open_accounts
from services.loyalty.by_hand import Adjustment, Why, adjust
from services.loyalty.terms import MAIN, terms_now

CLAIM: Final = """
INSERT INTO commands (command_id, carried_out_at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING command_id
"""
DISCLAIM: Final = "DELETE FROM commands WHERE command_id = $1"


async def carry_out(tx: Transaction, command: AccruePoints | BurnPoints) -> None:
    """Give or take the points; refuse what cannot be. A command that was carried out before changes nothing."""
    if not await tx.sql(CLAIM, command.command_id, tx.now):
        return
    await open_accounts(tx, [(command.customer_id, MAIN)], await terms_now(tx))
    try:
        why = Why(f"trigger:{command.trigger}", command.reason, None, str(command.command_id))
        await adjust(tx, command.customer_id, _asked(command), why)
    except Problem as problem:
        await tx.sql(DISCLAIM, command.command_id)
        tx.refuse(command, problem.code, f"points: {problem.detail.format(**problem.values)}")


def _asked(command: AccruePoints | BurnPoints) -> Adjustment:
    if isinstance(command, BurnPoints):
        return Adjustment(-command.points, command.occasion, command.account)
    return Adjustment(command.points, command.occasion, command.account, command.activates_at, command.expires_at)
