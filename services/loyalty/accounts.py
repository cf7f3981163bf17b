"""Whose points: which accounts a card, a phone or a customer id opens, and their locks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from chassis import waiting
from chassis.ids import new_id
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.records import Record
from services.loyalty.terms import BASIS_POINTS, MAIN, Terms, terms_now

IdentifierKind = Literal["card", "phone", "customer"]
COLUMNS: Final = """
accounts.id, accounts.customer_id, accounts.kind, accounts.points_currency, accounts.balance, accounts.pending,
accounts.held, accounts.debt, accounts.spent_minor, accounts.bonus_coefficient, accounts.redemption_coefficient,
accounts.frozen_at IS NOT NULL AS is_frozen, accounts.points_scale, accounts.merged_into
"""
"""The fields of `Account` in their order, its customer for its holder, and into what it was merged."""
COLUMN_COUNT: Final = COLUMNS.count(",") + 1
FIND: Final = f"""
SELECT identifiers.identifier, identifiers.usable, identifiers.customer_id AS buyer_id,
       identifiers.customer_id <> identifiers.holder_id AND EXISTS (
           SELECT FROM accounts AS own WHERE own.customer_id = identifiers.customer_id AND own.frozen_at IS NOT NULL
       ) AS is_buyer_frozen, {COLUMNS}
FROM identifiers JOIN accounts ON accounts.customer_id = identifiers.holder_id
WHERE identifier = ANY ($1::text[])
"""  # noqa: S608 (a constant)
LOCKED: Final = "ORDER BY accounts.id FOR UPDATE OF accounts"
NOWAIT: Final = " NOWAIT"
"""Whoever holds locks already waits for no others, which would be out of order: the transaction is tried again instead
(SQLSTATE 55P03)."""
LOCK_HOLDERS: Final = f"SELECT {COLUMNS} FROM accounts WHERE customer_id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE"  # noqa: S608
LOCK_INTRODUCED: Final = """
SELECT 1 FROM accounts WHERE customer_id = ANY (ARRAY(
    SELECT COALESCE(members.holder_id, asked.customer_id)
    FROM unnest($1::uuid[]) AS asked (customer_id) LEFT JOIN members ON members.customer_id = asked.customer_id
)) ORDER BY id FOR UPDATE
"""
LOCK_ACCOUNTS: Final = f"""
SELECT {COLUMNS} FROM accounts WHERE customer_id = ANY (ARRAY(
    SELECT holder.customer_id FROM accounts AS asked JOIN accounts AS holder
        ON holder.id IN (asked.id, asked.merged_into)
    WHERE asked.id = ANY ($1::uuid[])
) || $2::uuid[]) ORDER BY id FOR UPDATE
"""  # noqa: S608 (a constant)
"""Those of who was merged as well: the locked row of an account says whether it is still merged, and into which one."""
SURVIVORS: Final = """
SELECT merged_id, customer_id FROM merges WHERE merged_id = ANY ($1::uuid[]) AND unmerged_at IS NULL
"""
HOLDER_OF: Final = "COALESCE((SELECT holder_id FROM members WHERE customer_id = $1), $1)"
LOCK_HOLDER_OF: Final = f"SELECT {COLUMNS} FROM accounts WHERE customer_id = {HOLDER_OF} ORDER BY id FOR UPDATE"  # noqa: S608
FROZEN: Final = """
SELECT DISTINCT customer_id FROM accounts WHERE customer_id = ANY ($1::uuid[]) AND frozen_at IS NOT NULL
"""
HOLD_PLACE: Final = """
INSERT INTO identifiers (identifier, kind)
SELECT identifier, kind FROM unnest($1::text[], $2::text[]) AS asked (identifier, kind) ORDER BY identifier
ON CONFLICT (identifier) DO UPDATE SET kind = identifiers.kind
RETURNING identifier, customer_id
"""
OPEN: Final = """
INSERT INTO accounts (id, customer_id, kind, points_currency, points_scale, opened_at, frozen_at, frozen_because,
                      freeze_changed_at)
SELECT new.id, new.customer_id, new.kind, new.points_currency, new.points_scale, $6, main.frozen_at,
       main.frozen_because, main.freeze_changed_at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::smallint[])
     AS new (id, customer_id, kind, points_currency, points_scale)
     LEFT JOIN accounts AS main ON main.customer_id = new.customer_id AND main.kind = 'main'
ORDER BY new.customer_id, new.kind
ON CONFLICT (customer_id, kind) DO NOTHING
"""
NAME: Final = """
INSERT INTO identifiers (identifier, kind, customer_id, holder_id, usable)
SELECT identifier, kind, named.customer_id, COALESCE(members.holder_id, named.customer_id), usable
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::boolean[]) AS named (identifier, kind, customer_id, usable)
     LEFT JOIN members ON members.customer_id = named.customer_id
ORDER BY identifier
ON CONFLICT (identifier) DO UPDATE
SET customer_id = excluded.customer_id, holder_id = excluded.holder_id, usable = excluded.usable
"""
UNNAME_PHONES: Final = """
DELETE FROM identifiers USING unnest($1::uuid[], $2::text[]) AS now_has (customer_id, phone)
WHERE identifiers.customer_id = now_has.customer_id AND kind = 'phone' AND identifier IS DISTINCT FROM phone
"""


class Introduction(NamedTuple):
    """An identifier, and the customer whom it names from now on."""

    kind: IdentifierKind
    identifier: str
    customer_id: UUID
    usable: bool = True


@dataclass(slots=True)
class Account:
    """An account whose row is locked by this transaction; its figures run along as it is worked on, in whole units.

    `balance` is the sum of its entries and below zero where more is owed than there is. Of the points in its lots,
    `pending` are not activated yet and `held` are reserved for purchases; `debt` is what the next accruals pay first.
    """

    id: UUID
    holder: "Holder" = field(repr=False)
    kind: str
    points_currency: str
    balance: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0
    spent_minor: int = 0
    bonus_coefficient: int = BASIS_POINTS
    redemption_coefficient: int = BASIS_POINTS
    is_frozen: bool = False
    points_scale: int = 0
    """Digits behind the point of the currency, which keeps them as long as it is used."""

    @property
    def customer_id(self) -> UUID:
        """Whose points they are."""
        return self.holder.customer_id

    @property
    def available(self) -> int:
        """Points that can be spent now."""
        return max(0, self.balance - self.pending - self.held)


@dataclass(slots=True)
class Holder:
    """A customer with all of their accounts by kind, every row of them locked by this transaction."""

    customer_id: UUID
    accounts: dict[str, Account] = field(default_factory=dict)

    @property
    def main(self) -> Account:
        return self.accounts[MAIN]


class Opened(NamedTuple):
    """What an identifier opens: the accounts of their holder; `buyer_id` is the person whose identifier it is."""

    holder: Holder
    buyer_id: UUID
    is_buyer_frozen: bool


@dataclass(slots=True)
class Found:
    """What is opened by identifier, and the identifiers whose card is blocked; the unknown ones are in neither."""

    opened: dict[str, Opened]
    blocked: set[str]

    def __contains__(self, identifier: str) -> bool:
        return identifier in self.opened or identifier in self.blocked

    def part(self) -> None:
        """The last thing: holders and accounts, which know each other, part, and are gone with the batch.

        Else they wait for the garbage collector, which halts a busy worker for longer than a batch takes.
        """
        for opened in self.opened.values():
            opened.holder.accounts.clear()


def kind_of(purchase: PurchaseCompleted | PurchaseReturned | PurchaseCancelled) -> IdentifierKind:
    """What the record's key is."""
    if purchase.card_number is not None:
        return "card"
    return "phone" if purchase.phone is not None else "customer"


def awaited(kind: str, identifier: str) -> str:
    """What a record of an unknown card waits for; see chassis/waiting.py."""
    return f"{kind}:{identifier}"


async def find_and_lock(tx: Transaction, kinds: Mapping[str, IdentifierKind]) -> Found:
    """The accounts behind each identifier (with what kind of identifier it is), locked in one order.

    The place of an unknown identifier is held by a row without a customer. Its lock makes whoever introduces the card
    wait until this transaction has put the purchase among those that wait for it. Where one has appeared meanwhile,
    all are sought again: two cards of one account must open one `Account`, whose figures run along.
    """
    found = await find_known(tx, list(kinds))
    unknown = [identifier for identifier in kinds if identifier not in found]
    if unknown:
        places = await tx.sql(HOLD_PLACE, unknown, [kinds[identifier] for identifier in unknown])
        if any(customer_id is not None for _, customer_id in places):
            return await find_known(tx, list(kinds), wait=False)
    return found


async def find_known(tx: Transaction, identifiers: Sequence[str], *, wait: bool = True) -> Found:
    """The accounts behind those of the identifiers that are known, locked in one order.

    Where they were merged into another customer's while this one waited for their lock, they are sought again.
    """
    while True:
        rows = await tx.sql(FIND + LOCKED + ("" if wait else NOWAIT), identifiers)
        if all(row.merged_into is None for row in rows):
            return await _found(tx, rows)
        wait = False


async def look_up(tx: Transaction, identifier: str) -> Found:
    """The accounts behind the identifier as they are now, not locked: to tell of them, not to change them."""
    return await _found(tx, await tx.sql(FIND, [identifier]))


async def _found(tx: Transaction, rows: Sequence[Any]) -> Found:
    holders = _holders(rows)
    found = Found({}, set())
    for row in rows:
        if row.usable:
            found.opened[row.identifier] = Opened(holders[row.customer_id], row.buyer_id, row.is_buyer_frozen)
        else:
            found.blocked.add(row.identifier)
    of_others = {key: each for key, each in found.opened.items() if each.buyer_id != each.holder.customer_id}
    if of_others:
        persons = await persons_of(tx, {each.buyer_id for each in of_others.values()})
        frozen = await frozen_of(tx, {person for customer, person in persons.items() if person != customer})
        for key, each in of_others.items():
            person = persons[each.buyer_id]
            found.opened[key] = Opened(each.holder, person, each.is_buyer_frozen or person in frozen)
    return found


async def persons_of(tx: Transaction, customers: Collection[UUID]) -> dict[UUID, UUID]:
    """Who each of these customers is: themselves, or whom they are part of by a merge."""
    persons = {each: each for each in customers}
    while survivors := {row.merged_id: row.customer_id for row in await tx.sql(SURVIVORS, [*persons.values()])}:
        persons = {each: survivors.get(person, person) for each, person in persons.items()}
    return persons


async def lock_holders(tx: Transaction, customers: Sequence[UUID], *, wait: bool = True) -> dict[UUID, Holder]:
    """All accounts of these customers, locked in one order; who has none is left out."""
    return _holders(await tx.sql(LOCK_HOLDERS + ("" if wait else NOWAIT), customers))


async def lock_holder_of(tx: Transaction, customer_id: UUID) -> Holder | None:
    """The accounts that the customer's cards open, locked; None where loyalty does not know the customer."""
    wait = True
    while True:
        locked = _holders(await tx.sql(LOCK_HOLDER_OF + ("" if wait else NOWAIT), customer_id))
        ((holder_id,),) = await tx.sql(f"SELECT {HOLDER_OF}", customer_id)
        if not locked or holder_id in locked:
            return locked.get(holder_id)
        wait = False


async def lock_accounts(
    tx: Transaction, account_ids: Sequence[UUID], *, besides: Sequence[UUID] = ()
) -> dict[UUID, Account]:
    """These accounts by id, all accounts of their holders being locked in one order, those of customers `besides` too.

    An account that was merged into another customer's stands for that one. Where it was merged while this one waited
    for its lock, they are sought again.
    """
    wait = True
    while True:
        rows = await tx.sql(LOCK_ACCOUNTS + ("" if wait else NOWAIT), account_ids, besides)
        into = {row.id: row.merged_into for row in rows}
        by_id = {account.id: account for holder in _holders(rows).values() for account in holder.accounts.values()}
        found = {each: by_id.get(into[each] or each) for each in account_ids}
        if all(found.values()):
            return {each: account for each, account in found.items() if account is not None}
        wait = False


async def account_of_kind(tx: Transaction, holder: Holder, kind: str, terms: Terms) -> Account:
    """The locked holder's account of this kind; opened where there was none."""
    if kind not in holder.accounts:
        await open_accounts(tx, [(holder.customer_id, kind)], terms)
        opened = (await lock_holders(tx, [holder.customer_id]))[holder.customer_id].accounts[kind]
        opened.holder = holder
        holder.accounts[kind] = opened
    return holder.accounts[kind]


def refuse_more_than_available(account: Account, points: int) -> None:
    """Raise a problem where the account has not so many to be spent."""
    if points > account.available:
        raise Problem(
            409,
            "not_enough_points",
            "The customer has {available} points; take so many at most.",
            available=account.available,
            field="points",
        )


async def introduce(tx: Transaction, introductions: Iterable[Introduction]) -> Sequence[Record]:
    """From now on these identifiers name these customers, each of whom has a main account.

    Of several introductions of one identifier the last one holds. What waited for them is given back to be handled.
    The accounts are locked before the identifiers, as purchases do.
    """
    named = {each.identifier: each for each in introductions}
    customers = {each.customer_id for each in named.values()}
    await open_accounts(tx, [(customer_id, MAIN) for customer_id in customers], await terms_now(tx))
    await tx.sql(LOCK_INTRODUCED, list(customers))
    await tx.sql(
        NAME,
        list(named),
        [each.kind for each in named.values()],
        [each.customer_id for each in named.values()],
        [each.usable for each in named.values()],
    )
    return await waiting.recall(tx, [awaited(each.kind, each.identifier) for each in named.values() if each.usable])


async def open_accounts(tx: Transaction, wanted: Sequence[tuple[UUID, str]], terms: Terms) -> None:
    """Each of the customers has an account of the kind from now on, frozen as their main one is."""
    await tx.sql(
        OPEN,
        [new_id() for _ in wanted],
        [customer_id for customer_id, _ in wanted],
        [kind for _, kind in wanted],
        [terms.currency_of(kind).code for _, kind in wanted],
        [terms.currency_of(kind).scale for _, kind in wanted],
        tx.now,
    )


async def is_frozen(tx: Transaction, customer_id: UUID) -> bool:
    """Whether the customer is blocked."""
    return bool(await frozen_of(tx, [customer_id]))


async def frozen_of(tx: Transaction, customers: Collection[UUID]) -> Collection[UUID]:
    """Those of these customers who are blocked."""
    return {row.customer_id for row in await tx.sql(FROZEN, list(customers))} if customers else ()


async def forget_phones(tx: Transaction, phones: Mapping[UUID, str | None]) -> None:
    """These customers have no other phone than the one that is named here."""
    await tx.sql(UNNAME_PHONES, list(phones), list(phones.values()))


def of_account(account: Account) -> dict[str, Any]:
    """What every event of an account names."""
    return {
        "customer_id": account.customer_id,
        "account_id": account.id,
        "points_currency": account.points_currency,
        "points_scale": account.points_scale or None,
    }


def _holders(rows: Iterable[Any]) -> dict[UUID, Holder]:
    """Of rows that end with COLUMNS. By place, not by name: it saves a twentieth of delivering a purchase."""
    holders: dict[UUID, Holder] = {}
    for row in rows:
        account_id, customer_id, kind, *figures, _ = row[-COLUMN_COUNT:]
        holder = holders.get(customer_id)
        if holder is None:
            holder = holders[customer_id] = Holder(customer_id)
        if kind not in holder.accounts:
            holder.accounts[kind] = Account(account_id, holder, kind, *figures)
    return holders
