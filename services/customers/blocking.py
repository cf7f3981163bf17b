"""Blocking a customer: from now on they neither earn nor spend points; who they are and what they have stays."""

from typing import Final
from uuid import UUID

from chassis.actor import Actor
from chassis.transaction import Transaction
from contracts.customers import CustomerBlocked, CustomerUnblocked
from services.customers import audit
from services.customers.customer import Customer, lock_one, read_one

SET: Final = "UPDATE customers SET blocked_at = $2, block_reason = $3 WHERE id = $1"


async def block(tx: Transaction, customer_id: UUID, reason: str, who: Actor) -> Customer:
    """Block the customer; one who is blocked already stays so, with the first reason. Raises `Problem` 404, 410."""
    customer = await lock_one(tx, customer_id)
    if customer.blocked is not None:
        return customer
    await tx.sql(SET, customer.id, tx.now, reason)
    tx.say(CustomerBlocked(customer_id=customer.id, blocked_at=tx.now, reason=reason))
    await audit.record(tx, customer.id, "blocked", who, [reason])
    return await read_one(tx, customer.id)


async def unblock(tx: Transaction, customer_id: UUID, who: Actor) -> Customer:
    """Take the block back, if there is one. Raises `Problem` 404, 410."""
    customer = await lock_one(tx, customer_id)
    if customer.blocked is None:
        return customer
    await tx.sql(SET, customer.id, None, None)
    tx.say(CustomerUnblocked(customer_id=customer.id, unblocked_at=tx.now))
    await audit.record(tx, customer.id, "unblocked", who)
    return await read_one(tx, customer.id)
