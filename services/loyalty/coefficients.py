"""A customer's own coefficients: what is earned, and what points are worth when paid with, is multiplied by them."""

from typing import Final
from uuid import UUID

from chassis.ids import new_id
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.loyalty import CoefficientsChanged
from services.loyalty.accounts import account_of_kind, lock_holder_of, of_account
from services.loyalty.by_hand import Why
from services.loyalty.terms import terms_now

SET: Final = "UPDATE accounts SET bonus_coefficient = $2, redemption_coefficient = $3 WHERE id = $1"
RECORD: Final = """
INSERT INTO coefficient_changes (id, account_id, changed_at, actor, reason, comment, bonus_before, bonus_after,
                                 redemption_before, redemption_after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


async def set_coefficients(
    tx: Transaction, customer_id: UUID, kind: str, bonus: int | None, redemption: int | None, why: Why
) -> None:
    """Set one or both, in basis points; None leaves one as it is. What is earned already stays as it was.

    Raises `Problem` 404, 409 where nothing is different, 422 for an unknown kind of account.
    """
    terms = await terms_now(tx)
    if terms.kind(kind) is None:
        raise Problem(422, "unknown_account_kind", "The terms have no such kind of account.", field="account")
    holder = await lock_holder_of(tx, customer_id)
    if holder is None:
        raise Problem(404, "customer_not_found", "Loyalty knows no customer of this id.", field="customer_id")
    account = await account_of_kind(tx, holder, kind, terms)
    before = (account.bonus_coefficient, account.redemption_coefficient)
    after = (before[0] if bonus is None else bonus, before[1] if redemption is None else redemption)
    if before == after:
        raise Problem(409, "coefficients_unchanged", "The coefficients are so already.")
    await tx.sql(SET, account.id, *after)
    await tx.sql(
        RECORD,
        new_id(),
        account.id,
        tx.now,
        str(why.actor),
        why.reason,
        why.comment,
        before[0],
        after[0],
        before[1],
        after[1],
    )
    tx.say(
        CoefficientsChanged(
            **of_account(account),
            bonus_before=before[0],
            bonus_after=after[0],
            redemption_before=before[1],
            redemption_after=after[1],
            reason=why.reason,
            actor=str(why.actor),
            changed_at=tx.now,
        )
    )
