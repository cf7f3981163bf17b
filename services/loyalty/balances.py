"""Saying what customers have now: the compacted state of `loyalty.balances`."""

from collections.abc import Iterable

from chassis.transaction import Transaction
from contracts.loyalty import Balance, CurrencyBalance
from services.loyalty.accounts import Account


def say_balances(tx: Transaction, accounts: Iterable[Account], points_currency: str) -> None:
    """The newest balance of each account, once. The accounts are locked by this transaction."""
    for account in {each.id: each for each in accounts}.values():
        tx.say(
            Balance(
                customer_id=account.customer_id,
                balances=[CurrencyBalance(points_currency=points_currency, available=account.balance)],
                as_of=tx.now,
            )
        )
