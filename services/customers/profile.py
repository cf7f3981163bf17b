"""Changing a customer's profile: the fields that are named, to the values that are given."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from chassis.actor import Actor
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.fields import Channel
from services.customers import reachability, tables
from services.customers.claims import claim
from services.customers.contacts import tell
from services.customers.customer import Customer, lock_one
from services.customers.profile_fields import refuse_unborn

CHANNEL_OF: Final[Mapping[str, Channel]] = {"phone": "sms", "email": "email"}
"""The channel that a field is the address of."""
HOLDER = "SELECT id FROM customers WHERE phone = $1"


def changes(customer: Customer, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the asked-for fields that have another value now."""
    return {name: value for name, value in asked.items() if getattr(customer, name) != value}


async def change(tx: Transaction, customer_id: UUID, asked: Mapping[str, Any], who: Actor) -> Customer:
    """Give the named fields these values (None empties one).

    Raises `Problem` 404, 410, 422 for a birth date to come, 409 for somebody else's phone.
    """
    refuse_unborn(asked.get("birth_date"), tx.now)
    if "phone" in asked:
        await claim(tx, phones=[asked["phone"]])
    before = await lock_one(tx, customer_id)
    new = changes(before, asked)
    if not new:
        return before
    if "phone" in new:
        await _refuse_taken(tx, new["phone"])
    moments = {f"{name}_changed_at": tx.now for name in new if name in CHANNEL_OF}
    await tx.execute(tables.customers.update().where(tables.customers.c.id == customer_id).values(**new, **moments))
    for name in new.keys() & CHANNEL_OF.keys():
        await reachability.try_again(tx, customer_id, CHANNEL_OF[name], tx.now)
    return await tell(tx, before, who)


async def _refuse_taken(tx: Transaction, phone: str) -> None:
    """Without a lock on the holder: two customers who want each other's phones would wait for each other."""
    if await tx.sql(HOLDER, phone):
        raise Problem(
            409,
            "phone_taken",
            "This phone belongs to another customer; look them up by the phone.",
            field="phone",
        )
