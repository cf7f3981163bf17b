"""Changing a customer's profile: the fields that are named, to the values that are given."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from chassis.actor import Actor
from chassis.problems import Problem
from chassis.transaction import Transaction
from services.customers import merging, reachability, tables
from services.customers.claims import claim
from services.customers.contacts import tell
from services.customers.customer import Customer, living, lock_person
from services.customers.profile_fields import refuse_unborn
from services.customers.reachability import CHANNEL_OF

HOLDER = "SELECT id FROM customers WHERE phone = $1"


def changes(customer: Customer, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the asked-for fields that have another value now."""
    return {name: value for name, value in asked.items() if getattr(customer, name) != value}


async def change(tx: Transaction, customer_id: UUID, asked: Mapping[str, Any], who: Actor) -> Customer:
    """Give the named fields of the customer, or of whom they were merged into, these values (None empties one).

    Raises `Problem` 404, 409, 410, 422 for a birth date to come, 409 for somebody else's phone.
    """
    refuse_unborn(asked.get("birth_date"), tx.now)
    if "phone" in asked:
        await claim(tx, phones=[asked["phone"]])
    customer, merged = await lock_person(tx, customer_id)
    before = living(customer)
    new = changes(before, asked)
    if not new:
        return before
    if "phone" in new:
        await _free(tx, new["phone"], merged)
    moments = {f"{name}_changed_at": tx.now for name in new if name in CHANNEL_OF}
    await tx.execute(tables.customers.update().where(tables.customers.c.id == before.id).values(**new, **moments))
    for name in new.keys() & CHANNEL_OF.keys():
        await reachability.try_again(tx, before.id, CHANNEL_OF[name], tx.now)
    return await tell(tx, before, who)


async def _free(tx: Transaction, phone: str, merged: Sequence[Customer]) -> None:
    """The phone of a record that is part of the customer goes over to them; anybody else's is theirs.

    Without a lock on the holder: two customers who want each other's phones would wait for each other.
    """
    for record in merged:
        if record.phone == phone:
            await merging.hand_over(tx, record, "phone")
            return
    if await tx.sql(HOLDER, phone):
        raise Problem(
            409,
            "phone_taken",
            "This phone belongs to another customer; look them up by the phone.",
            field="phone",
        )
