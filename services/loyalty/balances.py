"""Saying what customers have now: the compacted state of `loyalty.balances`."""

from collections.abc import Iterable

from chassis.transaction import Transaction
from contracts.loyalty import Balance, CurrencyBalance
from services.loyalty.accounts import Account


def say_balances(tx: Transaction, accounts: Iterable[Account]) -> None:
    """The newest balances of the accounts' holders, once each. All their accounts are locked by this transaction."""
    for holder in {each.customer_id: each.holder for each in accounts}.values():
        tx.say(
            Balance(
                customer_id=holder.customer_id,
                balances=[_balance(account) for account in holder.accounts.values()],
                as_of=tx.now,
            )
        )


def _balance(account: Account) -> CurrencyBalance:
    return CurrencyBalance(
        points_currency=account.points_currency,
        available=account.available,
        account_id=account.id,
        kind=account.kind,
        pending=account.pending,
        held=account.held,
        debt=account.debt,
        points_scale=account.points_scale or None,
    )
