"""The customer as a whole: profile, consents, cards; read in one statement, changed under the lock of one row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from chassis.actor import Source
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.fields import Channel, Language

LOCK = "SELECT id FROM customers WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE"
LOCK_BY_PHONE = "SELECT id FROM customers WHERE phone = $1 FOR UPDATE"
READ = """
SELECT id, phone, first_name, last_name, birth_date, email, telegram_chat_id, language, time_zone, source,
       registered_at, phone_changed_at, email_changed_at, telegram_changed_at, blocked_at, block_reason,
       erased_at,
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
    consents: tuple[GivenConsent, ...]
    unreachable: tuple[Channel, ...]
    cards: tuple[HeldCard, ...]


async def read(tx: Transaction, ids: Sequence[UUID]) -> Mapping[UUID, Customer]:
    """Those of the customers that there are."""
    return {row.id: _customer(row) for row in await tx.sql(READ, ids)}


async def read_one(tx: Transaction, customer_id: UUID) -> Customer:
    """Raises `Problem` 404 where there is no such customer, 410 where they were erased."""
    return _living((await read(tx, [customer_id])).get(customer_id))


async def lock(tx: Transaction, ids: Sequence[UUID]) -> Mapping[UUID, Customer]:
    """Lock the customers' rows, sorted, and read them.

    In two statements: the subselects of a locking SELECT would show consents and cards as they were before the wait.
    """
    await tx.sql(LOCK, ids)
    return await read(tx, ids)


async def lock_one(tx: Transaction, customer_id: UUID) -> Customer:
    """As `read_one`, locked."""
    return _living((await lock(tx, [customer_id])).get(customer_id))


async def lock_by_phone(tx: Transaction, phone: str) -> Customer | None:
    """The customer with this phone, locked. Claim the phone first, or one may appear meanwhile."""
    for (customer_id,) in await tx.sql(LOCK_BY_PHONE, phone):
        return (await read(tx, [customer_id]))[customer_id]
    return None


def not_found() -> Problem:
    """No customer has had this id."""
    return Problem(404, "customer_not_found", "There is no customer with this id; look them up by phone or card.")


def _living(customer: Customer | None) -> Customer:
    if customer is None:
        raise not_found()
    if customer.erased_at is not None:
        raise Problem(410, "customer_erased", "This customer was erased; register the person anew if they ask for it.")
    return customer


def _customer(row: sa.Row[Any]) -> Customer:
    facts = dict(row._mapping)
    channels, times = facts.pop("consent_channels"), facts.pop("consent_times")
    numbers, states, successors = (facts.pop(f"card_{name}") for name in ("numbers", "states", "successors"))
    since, reason = facts.pop("blocked_at"), facts.pop("block_reason")
    return Customer(
        **facts | {"unreachable": tuple(facts["unreachable"])},
        blocked=None if since is None else Block(since, reason),
        consents=tuple(map(GivenConsent, channels, times)),
        cards=tuple(map(HeldCard, numbers, states, successors)),
    )
