"""Families: customers who share one customer's accounts, so that cards of all of them open these.

What a member had before stays on their own accounts, and is theirs again when they leave. Merged customers are members
too, of the one they are part of; see merging.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from chassis.actor import Actor
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.loyalty import FamilyJoined, FamilyLeft
from services.loyalty import holds
from services.loyalty.accounts import Holder, lock_holders, of_account

MEMBERS_MAX: Final = 20
OF: Final = "SELECT holder_id, cause FROM members WHERE customer_id = $1"
MEMBERS: Final = "SELECT customer_id, since FROM members WHERE holder_id = $1 AND cause = 'family' ORDER BY since"
JOIN: Final = "INSERT INTO members (customer_id, holder_id, cause, since) VALUES ($1, $2, $3, $4)"
LEAVE: Final = "DELETE FROM members WHERE customer_id = $1 RETURNING holder_id, cause, since"
FOLLOW: Final = "UPDATE members SET holder_id = $2 WHERE holder_id = $1 RETURNING customer_id"
FOLLOW_AGAIN: Final = """
UPDATE members SET holder_id = $3 WHERE customer_id = ANY ($1::uuid[]) AND holder_id = $2 RETURNING customer_id
"""
MERGED_INTO: Final = "SELECT merged_id FROM merges WHERE customer_id = $1 AND unmerged_at IS NULL"
REOPEN: Final = """
UPDATE identifiers SET holder_id = COALESCE(members.holder_id, asked.customer_id)
FROM unnest($1::uuid[]) AS asked (customer_id) LEFT JOIN members ON members.customer_id = asked.customer_id
WHERE identifiers.customer_id = asked.customer_id
"""


async def holder_of(tx: Transaction, customer_id: UUID) -> UUID:
    """Whose accounts the customer's cards open: their own, or their family's."""
    return next((row.holder_id for row in await tx.sql(OF, customer_id)), customer_id)


async def is_merged(tx: Transaction, customer_id: UUID) -> bool:
    """Whether the customer is part of another one."""
    return any(row.cause == "merge" for row in await tx.sql(OF, customer_id))


async def members_of(tx: Transaction, holder_id: UUID) -> Sequence[Any]:
    """The members (customer_id, since) of a family besides the one whose accounts they are."""
    return await tx.sql(MEMBERS, holder_id)


async def join(tx: Transaction, customer_id: UUID, holder_id: UUID, who: Actor) -> None:
    """From now on the customer's cards open the holder's accounts; joining twice changes nothing.

    Raises `Problem` 404, 409 where one of them is in a family of another kind already, 422 for themselves.
    """
    if customer_id == holder_id:
        raise Problem(422, "same_customer", "Name another customer than the family's own.", field="customer_id")
    locked = await _both(tx, customer_id, holder_id)
    mine = next(iter(await tx.sql(OF, customer_id)), None)
    if mine is not None and mine.holder_id == holder_id:
        return
    if mine is not None:
        raise Problem(409, "in_a_family", "This customer shares another customer's accounts; they leave those first.")
    if await tx.sql(OF, holder_id):
        raise Problem(409, "holder_in_a_family", "The accounts of {holder_id} are not their own.", holder_id=holder_id)
    if await tx.sql(MEMBERS, customer_id):
        raise Problem(409, "has_a_family", "Others share this customer's accounts; they leave first.")
    if len(await tx.sql(MEMBERS, holder_id)) >= MEMBERS_MAX:
        raise Problem(409, "family_too_large", "A family has {most} members at most.", most=MEMBERS_MAX)
    await release_holds(tx, [locked[customer_id]])
    await tx.sql(JOIN, customer_id, holder_id, "family", tx.now)
    await _follow(tx, customer_id, customer_id, holder_id)
    shared = of_account(locked[holder_id].main)
    tx.say(FamilyJoined(**shared, member_id=customer_id, actor=str(who), joined_at=tx.now))


async def leave(tx: Transaction, customer_id: UUID, holder_id: UUID, who: Actor) -> None:
    """From now on the customer's cards open their own accounts; what was earned in the family stays with it.

    Raises `Problem` 404 where they are no member.
    """
    locked = await _both(tx, customer_id, holder_id)
    mine = next(iter(await tx.sql(OF, customer_id)), None)
    if mine is None or mine.holder_id != holder_id or mine.cause != "family":
        raise Problem(404, "not_a_member", "This customer does not share these accounts.", field="customer_id")
    await release_holds(tx, [locked[holder_id]])
    await tx.sql(LEAVE, customer_id)
    await _follow(tx, customer_id, holder_id, customer_id)
    shared = of_account(locked[holder_id].main)
    tx.say(FamilyLeft(**shared, member_id=customer_id, actor=str(who), left_at=tx.now))


async def join_for_merge(tx: Transaction, merged_id: UUID, holder_id: UUID) -> dict[str, Any]:
    """The merged customer and their own members open the survivor's accounts; gives what `leave_after_merge` needs."""
    before = [
        {"holder_id": row.holder_id, "cause": row.cause, "since": row.since.isoformat()}
        for row in await tx.sql(LEAVE, merged_id)
    ]
    await tx.sql(JOIN, merged_id, holder_id, "merge", tx.now)
    followers = [row.customer_id for row in await tx.sql(FOLLOW, merged_id, holder_id)]
    await tx.sql(REOPEN, [merged_id, *followers])
    return {"member": before, "followers": followers}


async def leave_after_merge(tx: Transaction, merged_id: UUID, was: Mapping[str, Any]) -> None:
    """Everybody opens the accounts again that they opened before the merge, as far as they have not left since.

    A family whose accounts are another customer's by now is found where these are.
    """
    for left in await tx.sql(LEAVE, merged_id):
        followers = await tx.sql(FOLLOW_AGAIN, [UUID(each) for each in was["followers"]], left.holder_id, merged_id)
        await tx.sql(REOPEN, [row.customer_id for row in followers])
    for before in was["member"]:
        family = await holder_of(tx, UUID(before["holder_id"]))
        if family != merged_id:
            await tx.sql(JOIN, merged_id, family, before["cause"], tx.now)
    await tx.sql(REOPEN, [merged_id])


async def _follow(tx: Transaction, customer_id: UUID, before: UUID, holder_id: UUID) -> None:
    """The customer's cards, and those of who was merged into them, open other accounts than before."""
    merged = [row.merged_id for row in await tx.sql(MERGED_INTO, customer_id)]
    await tx.sql(FOLLOW_AGAIN, merged, before, holder_id)
    await tx.sql(REOPEN, [customer_id, *merged])


async def release_holds(tx: Transaction, holders: Sequence[Holder]) -> None:
    """Points held on these locked accounts are given back: who may spend them is about to change."""
    accounts = {account.id: account for holder in holders for account in holder.accounts.values()}
    standing = [(hold, accounts[hold.account_id]) for hold in await holds.standing_on(tx, list(accounts))]
    await holds.let_go(tx, standing, "accounts_changed")


async def _both(tx: Transaction, customer_id: UUID, holder_id: UUID) -> dict[UUID, Holder]:
    locked = await lock_holders(tx, [customer_id, holder_id])
    for each in (customer_id, holder_id):
        if each not in locked:
            raise Problem(404, "customer_not_found", "Loyalty knows no customer of this id.", field="customer_id")
    return locked
