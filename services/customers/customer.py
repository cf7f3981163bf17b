"""The customer as a whole: profile, consents, cards; read in one statement, changed under the lock of one row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from chassis.actor import Source
from chassis.problems import Problem
from chassis.transaction import Row, Transaction
from contracts.fields import Channel, Language

LOCK = "SELECT id FROM customers WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE"
BY_PHONE = "SELECT id, coalesce(merged_into, id) AS survivor FROM customers WHERE phone = $1"
NAMED = "SELECT id, coalesce(merged_into, id) AS survivor FROM customers WHERE id = $1"
PERSON = """
WITH person AS (SELECT coalesce(merged_into, id) AS id FROM customers WHERE id = $1)
SELECT id, id AS survivor FROM person
UNION ALL
SELECT parts.id, person.id FROM customers AS parts JOIN person ON parts.merged_into = person.id
"""
READ = """
SELECT id, phone, first_name, last_name, birth_date, email, telegram_chat_id, language, time_zone, source,
       registered_at, phone_changed_at, email_changed_at, telegram_changed_at, blocked_at, block_reason,
       erased_at, merged_into, merged_at,
       ARRAY(SELECT id FROM customers AS parts WHERE parts.merged_into = customers.id ORDER BY id) AS part_ids,
       ARRAY(SELECT merged_at FROM customers AS parts WHERE parts.merged_into = customers.id ORDER BY id)
           AS part_times,
       ARRAY(SELECT channel FROM consents WHERE customer_id = customers.id ORDER BY channel) AS consent_channels,
       ARRAY(SELECT given_at FROM consents WHERE customer_id = customers.id ORDER BY channel) AS consent_times,
       ARRAY(SELECT channel FROM unreachable_channels WHERE customer_id = customers.id ORDER BY channel)
           AS unreachable,
       ARRAY(SELECT number FROM cards WHERE customer_id = customers.id ORDER BY added_at, number) AS card_numbers,
       ARRAY(SELECT state FROM cards WHERE customer_id = customers.id ORDER BY added_at, number) AS card_states,
       ARRAY(SELECT replaced_by FROM cards WHERE customer_id = customers.id ORDER BY added_at, number)
           AS card_successors
FROM customers WHERE id = ANY ($1::uuid[])
"""
CardState = Literal["active", "blocked"]


class HeldCard(NamedTuple):
    """A card of the customer."""

    number: str
    state: CardState
    replaced_by: str | None = None


class Block(NamedTuple):
    """Since when the customer neither earns nor spends points, and why."""

    since: datetime
    reason: str


class Merge(NamedTuple):
    """The other record of the same person, and since when the two are one."""

    customer_id: UUID
    since: datetime


class GivenConsent(NamedTuple):
    """A channel on which the customer allows advertising, and since when."""

    channel: Channel
    given_at: datetime


@dataclass(frozen=True)
class Customer:
    """Who the customer is, just now. One who was erased has an id and the two moments."""

    id: UUID
    phone: str | None
    first_name: str | None
    last_name: str | None
    birth_date: date | None
    email: str | None
    telegram_chat_id: int | None
    language: Language
    time_zone: str
    source: Source
    registered_at: datetime
    phone_changed_at: datetime | None
    email_changed_at: datetime | None
    telegram_changed_at: datetime | None
    blocked: Block | None
    erased_at: datetime | None
    merged_into: Merge | None
    """The survivor that this record is part of: it is shown, and what is done to it is done to the survivor."""
    merged: tuple[Merge, ...]
    """The records that are part of this one."""
    consents: tuple[GivenConsent, ...]
    unreachable: tuple[Channel, ...]
    cards: tuple[HeldCard, ...]

    def is_part_of(self, other: "Customer") -> bool:
        """Whether this record was merged into the other one."""
        return self.merged_into is not None and self.merged_into.customer_id == other.id


async def read(tx: Transaction, ids: Sequence[UUID]) -> Mapping[UUID, Customer]:
    """Those of the customers that there are."""
    return {row.id: _customer(row) for row in await tx.sql(READ, ids)}


async def read_one(tx: Transaction, customer_id: UUID) -> Customer:
    """Raises `Problem` 404 where there is no such customer, 410 where they were erased."""
    return living((await read(tx, [customer_id])).get(customer_id))


async def lock(tx: Transaction, ids: Sequence[UUID]) -> Mapping[UUID, Customer]:
    """Lock the customers' rows, sorted, and read them.

    In two statements: the subselects of a locking SELECT would show consents and cards as they were before the wait.
    """
    await tx.sql(LOCK, ids)
    return await read(tx, ids)


async def lock_one(tx: Transaction, customer_id: UUID) -> Customer:
    """The customer, locked; of a merged record the survivor, for both are one person. Raises `Problem` 404, 410."""
    customers = await lock_with_survivors(tx, NAMED, customer_id)
    return survivor_of(customers, living(customers.get(customer_id)))


async def lock_unmerged(tx: Transaction, customer_id: UUID) -> Customer:
    """As `lock_one`. Raises `Problem` 409 for one who was merged into another."""
    return changeable((await lock(tx, [customer_id])).get(customer_id))


async def lock_with_survivors(tx: Transaction, look: str, *arguments: Any) -> Mapping[UUID, Customer]:
    """Lock the records that `look` finds (rows of id, survivor) and the survivors of those that were merged.

    Who waited for a lock looks again, since a merge, or the undoing of one, may have come before: a survivor who is
    locked gains and loses no record any more. Whoever changes a merged record holds it and its survivor.
    """
    locked: Mapping[UUID, Customer] = {}
    while True:
        found = {each for row in await tx.sql(look, *arguments) for each in (row.id, row.survivor)}
        if found <= locked.keys():
            return locked
        locked = await lock(tx, list(found | locked.keys()))


async def lock_by_phone(tx: Transaction, phone: str) -> Customer | None:
    """The customer with this phone, of their own or of a merged record, locked.

    Claim the phone first, or one may appear meanwhile.
    """
    customers = await lock_with_survivors(tx, BY_PHONE, phone)
    return next((survivor_of(customers, each) for each in customers.values() if each.phone == phone), None)


async def lock_person(tx: Transaction, customer_id: UUID) -> tuple[Customer | None, Sequence[Customer]]:
    """The customer, where there is one, and the records that are part of them, whichever is named; all locked."""
    customers = await lock_with_survivors(tx, PERSON, customer_id)
    if customer_id not in customers:
        return None, []
    customer = survivor_of(customers, customers[customer_id])
    return customer, [customers[each.customer_id] for each in customer.merged]


def survivor_of(customers: Mapping[UUID, Customer], customer: Customer) -> Customer:
    """The customer themselves, or the one of these whom they were merged into."""
    return customer if customer.merged_into is None else customers[customer.merged_into.customer_id]


def not_found() -> Problem:
    """No customer has had this id."""
    return Problem(404, "customer_not_found", "There is no customer with this id; look them up by phone or card.")


def changeable(customer: Customer | None) -> Customer:
    """Raises `Problem` 404, 410, and 409 for one who was merged into another."""
    customer = living(customer)
    if customer.merged_into is not None:
        raise Problem(
            409,
            "customer_merged",
            "Record {record} is part of customer {survivor}; go on with that one, or undo the merge.",
            record=customer.id,
            survivor=customer.merged_into.customer_id,
        )
    return customer


def living(customer: Customer | None) -> Customer:
    """Raises `Problem` 404, 410."""
    if customer is None:
        raise not_found()
    if customer.erased_at is not None:
        raise Problem(410, "customer_erased", "This customer was erased; register the person anew if they ask for it.")
    return customer


def _customer(row: Row) -> Customer:
    facts = dict(row)
    channels, times = facts.pop("consent_channels"), facts.pop("consent_times")
    numbers, states, successors = (facts.pop(f"card_{name}") for name in ("numbers", "states", "successors"))
    since, reason = facts.pop("blocked_at"), facts.pop("block_reason")
    survivor, merged_at = facts.pop("merged_into"), facts.pop("merged_at")
    parts = map(Merge, facts.pop("part_ids"), facts.pop("part_times"))
    return Customer(
        **facts | {"unreachable": tuple(facts["unreachable"])},
        blocked=None if since is None else Block(since, reason),
        merged_into=None if survivor is None else Merge(survivor, merged_at),
        merged=tuple(parts),
        consents=tuple(map(GivenConsent, channels, times)),
        cards=tuple(map(HeldCard, numbers, states, successors)),
    )
