"""Consents to advertising, a channel each, with the proof of every one given and withdrawn.

Where records are merged, a consent is given by the survivor's id alone, so that undoing the merge leaves nobody a
consent that another one gave. Withdrawn it is for the whole person, whichever record is named: nobody knows by which of
their records somebody who says “stop” was written to.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, Field

from chassis.actor import Actor, Source
from chassis.ids import new_id
from chassis.pagination import Keyset, Page, PageAsked
from chassis.transaction import Transaction
from contracts.customers import ConsentGiven, ConsentWithdrawn
from contracts.fields import Channel
from contracts.records import Record
from services.customers import audit, tables
from services.customers.contacts import tell
from services.customers.customer import Customer, GivenConsent, living, lock_person, lock_unmerged

NEWEST_FIRST: Final = Keyset([tables.consent_history.c.id], descending=True)
FORGET = "DELETE FROM consents WHERE customer_id = $1 AND channel = $2"


class ConsentLine(BaseModel):
    """A consent given or withdrawn."""

    channel: Channel
    given: bool = Field(description="True where it was given, false where it was withdrawn.")
    at: datetime
    source: Source
    who: str = Field(description="As the header Kopilka-Actor named them.", examples=["till:367-04"])


def given_on(customer: Customer, channel: Channel) -> GivenConsent | None:
    """The customer's consent on the channel, if they gave one."""
    return next((given for given in customer.consents if given.channel == channel), None)


async def give(tx: Transaction, customer_id: UUID, channel: Channel, who: Actor) -> GivenConsent:
    """The customer allows advertising on the channel; one given before stays as it is.

    Raises `Problem` 404, 410, and 409 for a record that was merged into another.
    """
    before = await lock_unmerged(tx, customer_id)
    if given_on(before, channel) is None:
        await note_given(tx, customer_id, channel, who)
        before = await tell(tx, before, who)
    given = given_on(before, channel)
    assert given is not None
    return given


async def withdraw(tx: Transaction, customer_id: UUID, channel: Channel, who: Actor) -> None:
    """The customer no longer allows advertising on the channel, by any of their records. Raises `Problem` 404, 410."""
    customer, merged = await lock_person(tx, customer_id)
    customer = living(customer)
    for record in (*merged, customer):
        if given_on(record, channel) is not None:
            await note_withdrawn(tx, record.id, channel, who, tx.now)
    await tell(tx, customer, who)


async def note_given(tx: Transaction, customer_id: UUID, channel: Channel, who: Actor) -> None:
    """Write and say a consent that the customer, who is locked, has not given yet; the caller says the contact."""
    await tx.execute(
        tables.consents.insert().values(customer_id=customer_id, channel=channel, given_at=tx.now, source=who.source)
    )
    await _prove(tx, customer_id, channel, given=True, who=who, at=tx.now)
    await audit.record(tx, customer_id, "consent_given", who, [channel])
    tx.say(ConsentGiven(customer_id=customer_id, channel=channel, given_at=tx.now, source=who.source))


async def note_withdrawn(
    tx: Transaction, customer_id: UUID, channel: Channel, who: Actor, at: datetime, *, cause: Record | None = None
) -> None:
    """Take back, and say so, a consent that the customer, who is locked, has given; the caller says the contact."""
    await tx.sql(FORGET, customer_id, channel)
    await _prove(tx, customer_id, channel, given=False, who=who, at=at)
    await audit.record(tx, customer_id, "consent_withdrawn", who, [channel])
    withdrawn = ConsentWithdrawn(customer_id=customer_id, channel=channel, withdrawn_at=at, source=who.source)
    tx.say(withdrawn, cause=cause)


async def history(tx: Transaction, customer_id: UUID, asked: PageAsked) -> Page[ConsentLine]:
    """Every consent given and withdrawn, the newest first."""
    lines = sa.select(tables.consent_history).where(tables.consent_history.c.customer_id == customer_id)
    rows, following = await NEWEST_FIRST.page(tx, lines, asked)
    return Page(items=[ConsentLine.model_validate(row, from_attributes=True) for row in rows], next=following)


async def _prove(
    tx: Transaction, customer_id: UUID, channel: Channel, *, given: bool, who: Actor, at: datetime
) -> None:
    await tx.execute(
        tables.consent_history.insert().values(
            id=new_id(),
            customer_id=customer_id,
            channel=channel,
            given=given,
            at=at,
            source=who.source,
            who=str(who),
        )
    )
