"""Crediting purchases on the real PostgreSQL: once each, for whoever holds the card."""

import asyncio
import gc
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from chassis.ids import new_id
from contracts.customers import Card, Contact, ContactErased
from contracts.loyalty import Balance, PointsAccrued
from services.loyalty import tables
from services.loyalty.accounts import Account
from tests.harness import until, waiters
from tests.off_the_bus import came
from tests.services.loyalty.world import NOW, Loyalty, card, purchase


async def test_a_purchase_earns_points_and_says_so(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000, 14_000, receipt="r57"))
    (accrued,) = await loyalty.said(PointsAccrued)
    assert (accrued.customer_id, accrued.points, accrued.balance_after) == (customer_id, 57, 57)
    assert (accrued.receipt_id, accrued.total_minor, accrued.store_id) == ("r57", 114_000, "367")
    assert [(each.category, each.total_minor) for each in accrued.categories] == [("BREAD", 114_000)]
    (balance,) = await loyalty.said(Balance)
    assert balance.balances[0].available == 57
    assert await loyalty.balance(customer_id) == 57
    assert await loyalty.differences() == []


async def test_purchases_of_one_account_in_one_batch_follow_one_another(loyalty: Loyalty) -> None:
    number = card()
    await loyalty.knows(number)
    await loyalty.hear(*(purchase(number, 2_000 * points) for points in (1, 2, 3)))
    assert [each.balance_after for each in await loyalty.said(PointsAccrued)] == [1, 3, 6]
    assert [each.balances[0].available for each in await loyalty.said(Balance)] == [6]


async def test_a_higher_level_earns_more_from_the_purchase_after_it_was_reached(loyalty: Loyalty) -> None:
    number = card()
    await loyalty.knows(number)
    await loyalty.hear(purchase(number, 5_000_000), purchase(number, 100_000))
    assert [each.points for each in await loyalty.said(PointsAccrued)] == [2_500, 60]


async def test_a_receipt_is_credited_once_however_often_it_is_said(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    receipt = purchase(number, 114_000)
    await loyalty.hear(receipt, receipt)
    await loyalty.hear(receipt)
    assert await loyalty.balance(customer_id) == 57
    assert await loyalty.refused() == []


async def test_a_receipt_that_comes_again_with_other_content_is_refused(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 114_000, receipt="twice"))
    await loyalty.hear(purchase(number, 2_000), purchase(number, 999_999, receipt="twice"))
    assert await loyalty.refused() == ["receipt_conflict"]
    assert await loyalty.balance(customer_id) == 58


async def test_a_receipt_of_another_card_at_the_same_moment_is_refused_and_not_lost_in_a_race(loyalty: Loyalty) -> None:
    first, second = card(), card()
    customers = [await loyalty.knows(first), await loyalty.knows(second)]
    other = Loyalty(loyalty.settings)

    async def both_record() -> bool:
        return await waiters(loyalty.database) == 2

    async with asyncio.TaskGroup() as tills, loyalty.database.engine.connect() as holding_both_back:
        await holding_both_back.execute(sa.insert(tables.purchases).values(receipt_id="same", state="awaited"))
        tills.create_task(loyalty.hear(purchase(first, 114_000, receipt="same")))
        tills.create_task(other.hear(purchase(second, 114_000, receipt="same")))
        await until(both_record, what="neither has seen the other's receipt, and both write theirs")
        await holding_both_back.rollback()
    await other.close()
    assert sorted([await loyalty.balance(each) for each in customers]) == [0, 57]
    assert await loyalty.refused() == ["receipt_conflict"]
    assert await loyalty.differences() == []


@pytest.mark.parametrize(
    ("what", "reason"),
    [({"completed_at": NOW + timedelta(days=27_000)}, "date_in_future"), ({"currency": "XTS"}, "unknown_currency")],
)
async def test_an_impossible_purchase_is_refused_and_its_neighbours_are_credited(
    loyalty: Loyalty, what: dict[str, Any], reason: str
) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 2_000), purchase(number, 114_000, **what), purchase(number, 4_000))
    assert await loyalty.refused() == [reason]
    assert await loyalty.balance(customer_id) == 3


async def test_a_purchase_with_a_blocked_card_is_refused(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(Card(card_number=number, customer_id=customer_id, state="blocked"))
    await loyalty.hear(purchase(number, 114_000))
    assert await loyalty.refused() == ["card_blocked"]


async def test_a_purchase_of_an_unknown_card_is_kept_and_credited_with_its_trace_when_the_card_appears(
    loyalty: Loyalty,
) -> None:
    number = card()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await loyalty.hear(came(purchase(number, 114_000), NOW, traceparent=trace), purchase(number, 2_000))
    assert await loyalty.said(PointsAccrued) == []
    assert len(await loyalty.rows("SELECT 1 FROM waiting")) == 2
    customer_id = await loyalty.knows(number)
    assert await loyalty.balance(customer_id) == 58
    assert await loyalty.rows("SELECT 1 FROM waiting") == []
    (headers, *_) = [row.headers for row in await loyalty.rows("SELECT headers FROM outbox ORDER BY id")]
    assert trace.encode() in bytes(headers)


async def test_two_cards_of_a_customer_open_one_account(loyalty: Loyalty) -> None:
    first, second = card(), card()
    customer_id = await loyalty.knows(first)
    await loyalty.knows(second, customer_id)
    await loyalty.hear(purchase(first, 2_000), purchase(second, 2_000))
    assert await loyalty.balance(customer_id) == 2


async def test_a_phone_or_a_customer_id_names_the_customer_as_well(loyalty: Loyalty) -> None:
    customer_id = new_id()
    by_phone = purchase(None, 2_000, phone="+79161234567")
    by_id = purchase(None, 2_000, customer_id=customer_id)
    await loyalty.hear(by_phone, by_id)
    await loyalty.hear(Contact(customer_id=customer_id, phone="+79161234567"))
    assert await loyalty.balance(customer_id) == 2


async def test_an_erased_customer_leaves_no_phone_behind(loyalty: Loyalty) -> None:
    customer_id = new_id()
    await loyalty.hear(Contact(customer_id=customer_id, phone="+79161234567"))
    await loyalty.hear(ContactErased(customer_id=customer_id))
    assert await loyalty.rows("SELECT 1 FROM identifiers WHERE kind = 'phone'") == []


async def test_a_changed_phone_no_longer_names_the_customer(loyalty: Loyalty) -> None:
    customer_id = new_id()
    await loyalty.hear(Contact(customer_id=customer_id, phone="+79161234567"))
    await loyalty.hear(Contact(customer_id=customer_id, phone="+79160000000"))
    phones = await loyalty.rows("SELECT identifier FROM identifiers WHERE kind = 'phone'")
    assert [row.identifier for row in phones] == ["+79160000000"]


async def test_a_replaced_card_opens_nothing_and_its_successor_the_same_account(loyalty: Loyalty) -> None:
    lost, new = card(), card()
    customer_id = await loyalty.knows(lost)
    await loyalty.hear(purchase(lost, 100_000))
    await loyalty.knows(new, customer_id)
    await loyalty.hear(Card(card_number=lost, customer_id=customer_id, state="blocked", replaced_by=new))
    await loyalty.hear(purchase(lost, 100_000), purchase(new, 20_000))

    assert await loyalty.refused() == ["card_blocked"]
    assert [each.balance_after for each in await loyalty.said(PointsAccrued)] == [50, 60]


async def test_a_credited_batch_leaves_no_accounts_to_the_garbage_collector(loyalty: Loyalty) -> None:
    number = card()
    await loyalty.knows(number)
    gc.collect()
    gc.disable()
    try:
        await loyalty.hear(purchase(number, 114_000))
        assert not [each for each in gc.get_objects() if isinstance(each, Account)]
    finally:
        gc.enable()
