"""Merging: two records that are one person become one, and two again where that was a mistake.

The merged record stays as it is and rests: it is shown with `merged_into`, its phone, cards and id find the survivor,
and nothing is said to it. What is done by its id is done to the survivor, for both are one person: blocking, another
phone, a lost card. Consents alone are given, and people erased, by their own ids only. The survivor holds its cards and
takes over what they lack themselves. One level only: a record that others are part of is part of none.

Consents are not merged. The survivor's own hold, on whatever address they have, as when an address changes; those of
the merged record rest with it and open no channel of the survivor, not even the one whose address came along: nobody
is advertised to by a consent that was given for another record. Undoing the merge wakes them, but for those that were
withdrawn meanwhile, by whichever record.

Whoever changes a merged record holds its row and that of its survivor.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import sqlalchemy as sa

from chassis.actor import Actor
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.customers import Contact, CustomersMerged, CustomersUnmerged
from services.customers import audit, cards, reachability
from services.customers.contacts import contact_of, tell
from services.customers.customer import Customer, changeable, living, lock, read_one
from services.customers.reachability import CHANNEL_OF
from services.customers.tables import customers

TAKEN: Final = ("phone", "first_name", "last_name", "birth_date", "email", "telegram_chat_id")
OF_ONE_ONLY: Final = ("phone", "telegram_chat_id")
"""The merged record keeps a copy of the rest."""


def taken_over(survivor: Customer, merged: Customer) -> dict[str, Any]:
    """What the survivor lacks and the merged record has."""
    return {
        name: getattr(merged, name)
        for name in TAKEN
        if getattr(survivor, name) is None and getattr(merged, name) is not None
    }


def given_back(survivor: Customer, taken: Mapping[str, str]) -> dict[str, Any]:
    """What the survivor took over and still has; what was changed since is theirs."""
    return {name: getattr(survivor, name) for name, value in taken.items() if _text(getattr(survivor, name)) == value}


def resting_contact(merged: Customer, taken: Mapping[str, Any]) -> Contact:
    """A contact that nobody can write to, whose phone still names whose purchase it is, unless the survivor took it.

    No tombstone: that would erase what the record said elsewhere, and undoing the merge could not bring it back.
    """
    return Contact(
        customer_id=merged.id,
        phone=None if "phone" in taken else merged.phone,
        language=merged.language,
        time_zone=merged.time_zone,
    )


async def merge(tx: Transaction, customer_id: UUID, merged_id: UUID, who: Actor) -> tuple[Customer, bool]:
    """Make the one record part of the other; gives the survivor, and whether that is new.

    Raises `Problem` 422 for one and the same, 404, 410, 409 where either is part of another record or blocked, where
    other records are part of the merged one, and where the cards are too many.
    """
    survivor, merged = await _lock(tx, customer_id, merged_id)
    if merged.is_part_of(survivor):
        return survivor, False
    _refuse_unfit(survivor, merged)
    taken = taken_over(survivor, merged)
    kept = {"merged_into": survivor.id, "merged_at": tx.now, "taken": {name: _text(taken[name]) for name in taken}}
    await _change(tx, merged, kept | {name: None for name in OF_ONE_ONLY if name in taken})
    await _change(tx, survivor, taken | _moments(tx, taken, survivor, merged))
    await reachability.hand_on(tx, merged.id, survivor.id, _channels(taken))
    await cards.take_along(tx, survivor, merged)
    await audit.record(tx, survivor.id, "merged", who, [str(merged.id)])
    await audit.record(tx, merged.id, "merged_into", who, [str(survivor.id)])
    tx.say(
        CustomersMerged(customer_id=survivor.id, merged_id=merged.id, merged_at=tx.now),
        resting_contact(merged, taken),
    )
    return await tell(tx, survivor, who), True


async def unmerge(tx: Transaction, customer_id: UUID, merged_id: UUID, who: Actor) -> Customer:
    """Make the merged record one of its own again, if it is part of this one; gives the survivor.

    Its cards go back with it, those that replaced them meanwhile included, and so does what the survivor took over and
    has not changed since. Raises `Problem` 422, 404, 410, 409 where either is part of another record, or the survivor
    is blocked: the merged record would come free of the block.
    """
    survivor, merged = await _lock(tx, customer_id, merged_id)
    changeable(survivor)
    if not merged.is_part_of(survivor):
        changeable(merged)
        return survivor
    _refuse_blocked(survivor)
    back = given_back(survivor, await _taken_from(tx, merged))
    alone = {"merged_into": None, "merged_at": None, "taken": None}
    await _change(tx, survivor, dict.fromkeys(back) | _moments(tx, back, survivor))
    own = {name: back[name] for name in OF_ONE_ONLY if name in back}
    await _change(tx, merged, alone | own | _moments(tx, own, survivor, merged))
    await reachability.hand_on(tx, survivor.id, merged.id, _channels(back))
    await cards.go_back(tx, merged)
    await audit.record(tx, survivor.id, "unmerged", who, [str(merged.id)])
    await audit.record(tx, merged.id, "unmerged_from", who, [str(survivor.id)])
    tx.say(CustomersUnmerged(customer_id=survivor.id, merged_id=merged.id, unmerged_at=tx.now))
    tx.say(contact_of(await read_one(tx, merged.id)))
    return await tell(tx, survivor, who, again=True)


async def hand_over(tx: Transaction, merged: Customer, name: Literal["phone", "telegram_chat_id"]) -> None:
    """The survivor, who is locked as the merged record is, wants its phone or chat: it counts as taken over."""
    value = {name: _text(getattr(merged, name))}
    await _change(tx, merged, {name: None, "taken": customers.c.taken.concat(value)})


async def _lock(tx: Transaction, customer_id: UUID, merged_id: UUID) -> tuple[Customer, Customer]:
    if customer_id == merged_id:
        raise Problem(
            422, "same_customer", "A record cannot be merged with itself; name another one.", field="merged_id"
        )
    locked = await lock(tx, [customer_id, merged_id])
    return living(locked.get(customer_id)), living(locked.get(merged_id))


def _refuse_unfit(survivor: Customer, merged: Customer) -> None:
    for customer in (survivor, merged):
        changeable(customer)
        _refuse_blocked(customer)
    if merged.merged:
        raise Problem(
            409,
            "has_merged_records",
            "Other records are part of {record}; merge the other way round, or undo those merges first.",
            record=merged.id,
        )


def _refuse_blocked(customer: Customer) -> None:
    if customer.blocked is not None:
        raise Problem(409, "customer_blocked", "Customer {record} is blocked; unblock them first.", record=customer.id)


async def _change(tx: Transaction, customer: Customer, values: Mapping[str, Any]) -> None:
    if values:
        await tx.execute(customers.update().where(customers.c.id == customer.id).values(values))


async def _taken_from(tx: Transaction, merged: Customer) -> Mapping[str, str]:
    taken: Mapping[str, str] = (
        await tx.execute(sa.select(customers.c.taken).where(customers.c.id == merged.id))
    ).scalar_one()
    return taken


def _moments(tx: Transaction, changed: Iterable[str], *words_about_telegram: Customer) -> dict[str, datetime]:
    """An address is a new one from now on; of Telegram the latest word about either record counts."""
    moments = {f"{name}_changed_at": tx.now for name in ("phone", "email") if name in changed}
    told = [each.telegram_changed_at for each in words_about_telegram if each.telegram_changed_at is not None]
    return moments | ({"telegram_changed_at": max(told)} if told else {})


def _channels(names: Iterable[str]) -> list[Any]:
    return [CHANNEL_OF[name] for name in names if name in CHANNEL_OF]


def _text(value: object) -> str | None:
    return None if value is None else str(value)
