"""Whose points: which account a card, a phone or a customer id opens."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import UUID

from chassis import waiting
from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.records import Record

Kind = Literal["card", "phone", "customer"]
FIND_AND_LOCK = """
SELECT identifier, usable, accounts.id, accounts.customer_id, balance, spent_minor, frozen_at IS NOT NULL
FROM identifiers JOIN accounts ON accounts.customer_id = identifiers.customer_id AND points_currency = $2
WHERE identifier = ANY ($1::text[])
ORDER BY accounts.id
FOR UPDATE OF accounts
"""
LOCK = """
SELECT customer_id, balance, spent_minor, frozen_at IS NOT NULL, points_currency FROM accounts WHERE id = $1 FOR UPDATE
"""
LOCK_OF_CUSTOMER = """
SELECT id, customer_id, balance, spent_minor, frozen_at IS NOT NULL FROM accounts
WHERE customer_id = $1 AND points_currency = $2 FOR UPDATE
"""
LOCK_ALL = """
SELECT id, customer_id, balance, spent_minor, frozen_at IS NOT NULL, points_currency FROM accounts
WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE
"""
HOLD_PLACE = """
INSERT INTO identifiers (identifier, kind)
SELECT identifier, kind FROM unnest($1::text[], $2::text[]) AS asked (identifier, kind) ORDER BY identifier
ON CONFLICT (identifier) DO UPDATE SET kind = identifiers.kind
RETURNING identifier, customer_id
"""
OPEN = """
INSERT INTO accounts (id, customer_id, points_currency, opened_at)
SELECT id, customer_id, $3, $4 FROM unnest($1::uuid[], $2::uuid[]) AS new (id, customer_id) ORDER BY customer_id
ON CONFLICT (customer_id, points_currency) DO NOTHING
"""
NAME = """
INSERT INTO identifiers (identifier, kind, customer_id, usable)
SELECT identifier, kind, customer_id, usable
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::boolean[]) AS named (identifier, kind, customer_id, usable)
ORDER BY identifier
ON CONFLICT (identifier) DO UPDATE SET customer_id = excluded.customer_id, usable = excluded.usable
"""
UNNAME_PHONES = """
DELETE FROM identifiers USING unnest($1::uuid[], $2::text[]) AS now_has (customer_id, phone)
WHERE identifiers.customer_id = now_has.customer_id AND kind = 'phone' AND identifier IS DISTINCT FROM phone
"""


class Introduction(NamedTuple):
    """An identifier, and the customer whom it names from now on."""

    kind: Kind
    identifier: str
    customer_id: UUID
    usable: bool = True


@dataclass(slots=True)
class Account:
    """An account whose row is locked by this transaction. `balance` and `spent_minor` run along as it is worked on."""

    id: UUID
    customer_id: UUID
    balance: int
    spent_minor: int
    is_frozen: bool


@dataclass(slots=True)
class Found:
    """Accounts by identifier, and the identifiers whose card is blocked; the unknown ones are in neither."""

    accounts: dict[str, Account]
    blocked: set[str]

    def __contains__(self, identifier: str) -> bool:
        return identifier in self.accounts or identifier in self.blocked

    def add(self, other: "Found") -> None:
        self.accounts |= other.accounts
        self.blocked |= other.blocked


def kind_of(purchase: PurchaseCompleted | PurchaseReturned | PurchaseCancelled) -> Kind:
    """What the record's key is."""
    if purchase.card_number is not None:
        return "card"
    return "phone" if purchase.phone is not None else "customer"


def awaited(kind: str, identifier: str) -> str:
    """What a record of an unknown card waits for; see chassis/waiting.py."""
    return f"{kind}:{identifier}"


async def find_and_lock(tx: Transaction, purchases: Iterable[PurchaseCompleted], points_currency: str) -> Found:
    """The account behind each purchase's identifier, locked in one order.

    The place of an unknown identifier is held by a row without a customer. Its lock makes whoever introduces the card
    wait until this transaction has put the purchase among those that wait for it.
    """
    kinds = {purchase.key: kind_of(purchase) for purchase in purchases}
    found = await _locked(tx, list(kinds), points_currency)
    unknown = [identifier for identifier in kinds if identifier not in found]
    if unknown:
        places = await tx.sql(HOLD_PLACE, unknown, [kinds[identifier] for identifier in unknown])
        appeared = [identifier for identifier, customer_id in places if customer_id is not None]
        if appeared:
            found.add(await _locked(tx, appeared, points_currency))
    return found


async def lock_account(tx: Transaction, account_id: UUID) -> tuple[Account, str]:
    """One account with its row locked, and its currency of points."""
    ((customer_id, balance, spent_minor, is_frozen, points_currency),) = await tx.sql(LOCK, account_id)
    return Account(account_id, customer_id, balance, spent_minor, is_frozen), points_currency


async def lock_account_of(tx: Transaction, customer_id: UUID, points_currency: str) -> Account | None:
    """The customer's account with its row locked; None where there is none."""
    return next((Account(*row) for row in await tx.sql(LOCK_OF_CUSTOMER, customer_id, points_currency)), None)


async def lock_accounts(tx: Transaction, account_ids: Sequence[UUID]) -> list[tuple[Account, str]]:
    """Accounts with their rows locked in one order, and the currency of points of each."""
    return [(Account(*row[:-1]), row[-1]) for row in await tx.sql(LOCK_ALL, account_ids)]


async def introduce(tx: Transaction, introductions: Iterable[Introduction], points_currency: str) -> Sequence[Record]:
    """From now on these identifiers name these customers, each of whom has an account.

    Of several introductions of one identifier the last one holds. What waited for them is given back to be handled.
    """
    named = {each.identifier: each for each in introductions}
    customers = list({each.customer_id for each in named.values()})
    await open_accounts(tx, customers, points_currency)
    await tx.sql(
        NAME,
        list(named),
        [each.kind for each in named.values()],
        [each.customer_id for each in named.values()],
        [each.usable for each in named.values()],
    )
    return await waiting.recall(tx, [awaited(each.kind, each.identifier) for each in named.values() if each.usable])


async def open_accounts(tx: Transaction, customers: Sequence[UUID], points_currency: str) -> None:
    """Each of the customers has an account from now on."""
    await tx.sql(OPEN, [new_id() for _ in customers], customers, points_currency, tx.now)


async def forget_phones(tx: Transaction, phones: Mapping[UUID, str | None]) -> None:
    """These customers have no other phone than the one that is named here."""
    await tx.sql(UNNAME_PHONES, list(phones), list(phones.values()))


async def _locked(tx: Transaction, identifiers: Sequence[str], points_currency: str) -> Found:
    by_id: dict[UUID, Account] = {}
    found = Found({}, set())
    for identifier, usable, account_id, customer_id, balance, spent_minor, is_frozen in await tx.sql(
        FIND_AND_LOCK, identifiers, points_currency
    ):
        if usable:
            account = by_id.setdefault(account_id, Account(account_id, customer_id, balance, spent_minor, is_frozen))
            found.accounts[identifier] = account
        else:
            found.blocked.add(identifier)
    return found
