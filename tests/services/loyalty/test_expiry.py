"""Points burn at the end of their lot: once, in pieces, beside tills at work."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from chassis.jobs import Job, run_job
from contracts.customers import CustomerBlocked, CustomerUnblocked
from contracts.loyalty import Balance, PointsExpired
from services.loyalty import expiry
from services.loyalty.accounts import lock_accounts
from services.loyalty.expiry import expire_due_lots
from tests.harness import until, waiters
from tests.services.loyalty.world import NOW, Loyalty, adjust, card, purchase

DAY = timedelta(days=1)
ENDED = NOW - 366 * DAY
"""A purchase of this time made a lot that ended yesterday."""


async def expire(loyalty: Loyalty) -> None:
    await run_job(Job(expire_due_lots, every=DAY), loyalty.database)


async def test_what_is_left_in_ended_lots_burns_and_is_said_once_for_the_account(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    old = [purchase(number, 100_000, completed_at=ENDED - days * DAY) for days in (0, 1)]
    await loyalty.hear(*old, purchase(number, 20_000, completed_at=NOW - 364 * DAY))
    await expire(loyalty)
    await expire(loyalty)

    (burned,) = await loyalty.said(PointsExpired)
    assert (burned.customer_id, burned.points, burned.balance_after) == (customer_id, 100, 10)
    assert burned.expired_at == NOW
    assert (await loyalty.said(Balance))[-1].balances[0].available == 10
    assert await loyalty.balance(customer_id) == 10
    assert await loyalty.differences() == []


async def test_points_that_were_spent_do_not_burn_as_well(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000, completed_at=ENDED))
    await adjust(api, customer_id, -30)
    await expire(loyalty)

    assert [each.points for each in await loyalty.said(PointsExpired)] == [20]
    assert await loyalty.balance(customer_id) == 0
    assert await loyalty.differences() == []


async def test_many_ended_lots_burn_piece_by_piece(loyalty: Loyalty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "PIECE_LOTS", 2)
    for _ in range(5):
        number = card()
        await loyalty.knows(number)
        await loyalty.hear(purchase(number, 20_000, completed_at=ENDED))
    await expire(loyalty)

    assert [each.points for each in await loyalty.said(PointsExpired)] == [10] * 5
    moments = await loyalty.rows("SELECT DISTINCT xmin::text FROM operations WHERE type = 'expiry'")
    assert len(moments) == 3


async def test_instances_at_once_beside_tills_burn_each_lot_once(
    loyalty: Loyalty, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "PIECE_LOTS", 5)
    cards = [card() for _ in range(20)]
    customers = [await loyalty.knows(number) for number in cards]
    await loyalty.hear(*(purchase(number, 20_000, completed_at=ENDED) for number in cards))
    await asyncio.gather(
        *(expire(loyalty) for _ in range(3)),
        *(loyalty.hear(*(purchase(number, 20_000) for number in reversed(cards))) for _ in range(3)),
        *(adjust(api, customer_id, -1) for customer_id in customers),
    )
    await expire(loyalty)

    balances = [await loyalty.balance(customer_id) for customer_id in customers]
    assert set(balances) <= {29, 30}
    burned = sum(each.points for each in await loyalty.said(PointsExpired))
    assert burned + sum(balances) == 20 * (10 + 30 - 1)
    assert await loyalty.differences() == []


async def test_frozen_points_that_do_not_age_are_left_and_live_longer(loyalty: Loyalty) -> None:
    await loyalty.set_terms(lots_age_while_frozen=False)
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000, completed_at=ENDED))
    await loyalty.hear(CustomerBlocked(customer_id=customer_id, blocked_at=NOW - 10 * DAY, reason="suspected_fraud"))
    await expire(loyalty)
    assert await loyalty.balance(customer_id) == 50

    await loyalty.hear(CustomerUnblocked(customer_id=customer_id, unblocked_at=NOW))
    await expire(loyalty)
    assert await loyalty.balance(customer_id) == 50


async def test_frozen_points_that_age_burn_at_their_time(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(purchase(number, 100_000, completed_at=ENDED))
    await loyalty.hear(CustomerBlocked(customer_id=customer_id, blocked_at=NOW, reason="suspected_fraud"))
    await expire(loyalty)
    assert await loyalty.balance(customer_id) == 0


async def test_the_balance_says_what_burns_when(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    customer_id = await loyalty.knows(card())
    for days, points in ((30, 5), (10, 7), (10, 1)):
        await adjust(api, customer_id, points, expires_at=(NOW + days * DAY).isoformat())
    (account,) = (await api.get(f"/customers/{customer_id}/balance")).json()["accounts"]
    assert account["expiring"] == [{"on": "2025-11-12", "points": 8}, {"on": "2025-12-02", "points": 5}]


async def test_accounts_are_locked_in_the_order_in_which_tills_lock_them(loyalty: Loyalty) -> None:
    cards = [card(), card()]
    for number in cards:
        await loyalty.knows(number)
    await loyalty.hear(*(purchase(number, 20_000, completed_at=ENDED) for number in cards))
    low, high = await loyalty.rows("SELECT id FROM accounts ORDER BY id")
    async with loyalty.database.transaction() as tx:
        await lock_accounts(tx, [low.id])
        expiring = asyncio.create_task(expire(loyalty))
        await until(lambda: waiters(loyalty.database), what="the job waits for the first account")
        await lock_accounts(tx, [high.id])
    await expiring

    assert [each.points for each in await loyalty.said(PointsExpired)] == [10, 10]


async def test_frozen_points_that_do_not_age_hold_up_nobody_elses(
    loyalty: Loyalty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "PIECE_LOTS", 2)
    await loyalty.set_terms(lots_age_while_frozen=False)
    cards = [card() for _ in range(4)]
    customers = [await loyalty.knows(number) for number in cards]
    ended = [ENDED - days * DAY for days in (4, 3, 2, 1)]
    await loyalty.hear(*(purchase(one, 20_000, completed_at=at) for one, at in zip(cards, ended, strict=True)))
    for customer_id in customers[:3]:
        await loyalty.hear(CustomerBlocked(customer_id=customer_id, blocked_at=NOW, reason="abuse"))
    async with asyncio.timeout(20):
        await expire(loyalty)

    assert [await loyalty.balance(customer_id) for customer_id in customers] == [10, 10, 10, 0]
