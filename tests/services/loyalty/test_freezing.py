"""Blocked customers: they neither earn nor spend, and find everything as it was."""

import asyncio
from datetime import datetime, timedelta
from typing import TypeVar, cast
from uuid import UUID

import pytest

from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.customers import Card, CustomerBlocked, CustomerUnblocked
from contracts.loyalty import AccountFrozen, AccountUnfrozen, PointsAccrued
from services.loyalty.freezing import freeze, unfreeze
from tests.harness import until, waiters
from tests.off_the_bus import came
from tests.services.loyalty.world import NOW, Loyalty, came_back, card, purchase

DAY = timedelta(days=1)
Blocking = TypeVar("Blocking", CustomerBlocked, CustomerUnblocked)


def blocked(customer_id: UUID, at: datetime = NOW, reason: str = "suspected_fraud") -> CustomerBlocked:
    return CustomerBlocked(customer_id=customer_id, blocked_at=at, reason=reason)


def unblocked(customer_id: UUID, at: datetime = NOW + DAY) -> CustomerUnblocked:
    return CustomerUnblocked(customer_id=customer_id, unblocked_at=at)


async def spent(loyalty: Loyalty, customer_id: UUID) -> int:
    (row,) = await loyalty.rows("SELECT spent_minor FROM accounts WHERE customer_id = :id", id=customer_id)
    return int(row.spent_minor)


async def test_a_purchase_by_a_frozen_account_is_recorded_and_earns_nothing_with_the_reason(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000))
    await loyalty.hear(blocked(customer_id))
    await loyalty.hear(purchase(number, 100_000, receipt="r-frozen"))

    before, frozen = await loyalty.said(PointsAccrued)
    assert (before.points, before.withheld) == (50, None)
    assert (frozen.points, frozen.withheld, frozen.balance_after) == (0, "account_frozen", 50)
    (kept,) = await loyalty.rows("SELECT * FROM purchases WHERE receipt_id = 'r-frozen'")
    assert (kept.state, kept.points, kept.withheld) == ("completed", 0, "account_frozen")
    assert await loyalty.balance(customer_id) == 50
    assert await spent(loyalty, customer_id) == 100_000
    assert await loyalty.differences() == []


async def test_unblocking_restores_the_account_as_it_was(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000))
    before = await loyalty.rows("SELECT * FROM lots")
    await loyalty.hear(blocked(customer_id))
    await loyalty.hear(unblocked(customer_id))
    await loyalty.hear(purchase(number, 100_000))

    assert await loyalty.balance(customer_id) == 100
    assert [row for row in await loyalty.rows("SELECT * FROM lots") if row in before] == before
    (frozen,), (unfrozen,) = await loyalty.said(AccountFrozen), await loyalty.said(AccountUnfrozen)
    assert (frozen.customer_id, frozen.reason, frozen.frozen_at) == (customer_id, "suspected_fraud", NOW)
    assert (unfrozen.account_id, unfrozen.unfrozen_at, unfrozen.lots_prolonged_s) == (frozen.account_id, NOW + DAY, 0)


async def test_the_return_of_a_purchase_that_earned_nothing_takes_nothing_and_keeps_the_level(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000))
    await loyalty.hear(blocked(customer_id))
    bought = purchase(number, 30_000)
    await loyalty.hear(bought)
    await loyalty.hear(unblocked(customer_id))
    await loyalty.hear(came_back(bought, {1: 30_000}))

    assert await loyalty.balance(customer_id) == 50
    assert await spent(loyalty, customer_id) == 100_000
    assert await loyalty.differences() == []


async def test_who_is_blocked_before_loyalty_knows_them_is_frozen_from_the_beginning(loyalty: Loyalty) -> None:
    number, customer_id = card(), new_id()
    await loyalty.hear(blocked(customer_id))
    await loyalty.hear(Card(card_number=number, customer_id=customer_id), purchase(number, 100_000))

    assert [each.withheld for each in await loyalty.said(PointsAccrued)] == ["account_frozen"]
    assert await loyalty.balance(customer_id) == 0


async def test_an_old_block_that_is_heard_again_changes_nothing(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(blocked(customer_id))
    await loyalty.hear(unblocked(customer_id))
    await loyalty.hear(blocked(customer_id))
    await loyalty.hear(purchase(number, 100_000))
    await loyalty.hear(blocked(customer_id, NOW + 2 * DAY, "abuse"))
    await loyalty.hear(unblocked(customer_id), blocked(customer_id, NOW + 3 * DAY))
    await loyalty.hear(purchase(number, 100_000))

    assert [each.points for each in await loyalty.said(PointsAccrued)] == [50, 0]
    assert [each.reason for each in await loyalty.said(AccountFrozen)] == ["suspected_fraud", "abuse"]


@pytest.mark.parametrize(("age", "prolonged"), [(True, timedelta()), (False, 30 * DAY)])
async def test_the_terms_say_whether_points_age_while_they_are_frozen(
    loyalty: Loyalty, age: bool, prolonged: timedelta
) -> None:
    await loyalty.set_terms(lots_age_while_frozen=age)
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000), purchase(number, 100_000, completed_at=NOW - 400 * DAY))
    burned, living = await loyalty.rows("SELECT * FROM lots ORDER BY expires_at")
    await loyalty.hear(blocked(customer_id))
    await loyalty.hear(unblocked(customer_id, NOW + 30 * DAY))

    burned_after, living_after = await loyalty.rows("SELECT * FROM lots ORDER BY expires_at")
    assert burned_after.expires_at == burned.expires_at
    assert living_after.expires_at == living.expires_at + prolonged
    (unfrozen,) = await loyalty.said(AccountUnfrozen)
    assert unfrozen.lots_prolonged_s == prolonged.total_seconds()


async def test_a_purchase_that_is_being_credited_waits_for_the_block(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    async with loyalty.database.transaction() as tx:
        await freeze(tx, heard(tx, blocked(customer_id)))
        crediting = asyncio.create_task(loyalty.hear(purchase(number, 100_000)))
        await until(lambda: waiters(loyalty.database), what="the purchase waits for the block")
    await crediting

    assert [each.withheld for each in await loyalty.said(PointsAccrued)] == ["account_frozen"]


async def test_an_unblocking_that_is_heard_once_more_does_not_take_back_a_newer_block(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(blocked(customer_id))
    async with loyalty.database.transaction() as tx:
        await unfreeze(tx, heard(tx, unblocked(customer_id)))
        await freeze(tx, heard(tx, blocked(customer_id, NOW + 2 * DAY)))
        repeating = asyncio.create_task(loyalty.hear(unblocked(customer_id)))
        await until(lambda: waiters(loyalty.database), what="the repeated unblocking waits")
    await repeating
    await loyalty.hear(purchase(number, 100_000))

    assert [each.points for each in await loyalty.said(PointsAccrued)] == [0]


def heard(tx: Transaction, event: Blocking) -> Blocking:
    came_off_the_bus = came(event, NOW)
    tx.hearing([came_off_the_bus])
    return cast(Blocking, came_off_the_bus.record)
