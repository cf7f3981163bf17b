"""Freezing accounts: a blocked customer neither earns nor spends, and finds everything as it was when unblocked."""

from datetime import timedelta
from typing import Any, Final

from chassis.transaction import Transaction
from contracts.customers import CustomerBlocked, CustomerUnblocked
from contracts.loyalty import AccountFrozen, AccountUnfrozen
from services.loyalty.accounts import open_accounts
from services.loyalty.terms import MAIN, terms_now

LOCK: Final = """
SELECT id, customer_id, points_currency, frozen_at, freeze_changed_at FROM accounts
WHERE customer_id = $1 ORDER BY id FOR UPDATE
"""
FREEZE: Final = "UPDATE accounts SET frozen_at = $2, frozen_because = $3, freeze_changed_at = $2 WHERE id = $1"
UNFREEZE: Final = "UPDATE accounts SET frozen_at = NULL, frozen_because = NULL, freeze_changed_at = $2 WHERE id = $1"
PROLONG: Final = """
UPDATE lots SET expires_at = expires_at + $2::interval WHERE account_id = $1 AND remaining > 0 AND expires_at > $3
"""


async def freeze(tx: Transaction, event: CustomerBlocked) -> None:
    """Freeze the customer's accounts; one who is not known yet has an account from now on, and it is frozen."""
    await open_accounts(tx, [(event.customer_id, MAIN)], await terms_now(tx))
    for account in await tx.sql(LOCK, event.customer_id):
        if _is_past(account, event) or account.frozen_at is not None:
            continue
        await tx.sql(FREEZE, account.id, event.blocked_at, event.reason)
        tx.say(AccountFrozen(**_named(account), reason=event.reason, frozen_at=event.blocked_at), cause=event)


async def unfreeze(tx: Transaction, event: CustomerUnblocked) -> None:
    """Give the customer's accounts back as they were; the terms say whether their points have aged meanwhile."""
    age = (await terms_now(tx)).lots_age_while_frozen
    for account in await tx.sql(LOCK, event.customer_id):
        if _is_past(account, event) or account.frozen_at is None:
            continue
        prolonged = timedelta() if age else event.unblocked_at - account.frozen_at
        if prolonged:
            await tx.sql(PROLONG, account.id, prolonged, account.frozen_at)
        await tx.sql(UNFREEZE, account.id, event.unblocked_at)
        tx.say(
            AccountUnfrozen(
                **_named(account),
                unfrozen_at=event.unblocked_at,
                lots_prolonged_s=prolonged // timedelta(seconds=1),
            ),
            cause=event,
        )


def _is_past(account: Any, event: CustomerBlocked | CustomerUnblocked) -> bool:
    """Whether something newer is known of the account: a topic that is read again changes nothing."""
    at = event.blocked_at if isinstance(event, CustomerBlocked) else event.unblocked_at
    return account.freeze_changed_at is not None and at <= account.freeze_changed_at


def _named(account: Any) -> dict[str, Any]:
    return {"account_id": account.id, "customer_id": account.customer_id, "points_currency": account.points_currency}
