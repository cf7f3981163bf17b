"""What waited in vain is a dead letter, and what comes after that is not led astray by it."""

from datetime import timedelta

from chassis.dead_letter_settling import find, replay
from chassis.envelope import Heard, Raw, decode
from chassis.giving_up import give_up_long_waits
from contracts.loyalty import PointsAccrued, PointsReturned
from contracts.records import BY_TYPE
from tests.services.loyalty.world import Loyalty, came_back, cancelled, card, purchase


async def give_up(loyalty: Loyalty) -> None:
    async with loyalty.database.transaction() as tx:
        await give_up_long_waits(tx, timedelta(0))


async def replayed(loyalty: Loyalty) -> list[Heard]:
    """All dead letters as they come off their topic again, at places of their own."""
    async with loyalty.database.transaction() as tx:
        letters = await find(tx)
        await replay(tx, [each.id for each in letters])
    raws = [Raw(each.topic, 0, 1_000_000 + each.offset, 1, each.key, each.value, each.headers) for each in letters]
    heard = [decode(raw, BY_TYPE, value_max_bytes=1 << 20) for raw in raws]
    return [each for each in heard if each is not None]


async def test_a_purchase_after_the_time_out_of_its_return_is_credited_and_the_replay_takes_it_back(
    loyalty: Loyalty,
) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000)
    await loyalty.hear(came_back(bought, {1: 40_000}))
    await give_up(loyalty)
    assert await loyalty.refused() == ["waited_too_long"]
    await loyalty.hear(bought)
    assert await loyalty.balance(customer_id) == 50
    assert await loyalty.said(PointsReturned) == []
    await loyalty.hear(*await replayed(loyalty))
    assert await loyalty.balance(customer_id) == 30
    assert await loyalty.differences() == []


async def test_a_return_that_is_replayed_behind_a_later_one_takes_back_the_same(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000, 77_700)
    await loyalty.hear(came_back(bought, {1: 33_300}))
    await give_up(loyalty)
    await loyalty.hear(came_back(bought, {1: 66_700, 2: 77_700}))
    await loyalty.hear(bought)
    await loyalty.hear(*await replayed(loyalty))
    assert await loyalty.balance(customer_id) == 0
    (row,) = await loyalty.rows("SELECT state FROM purchases")
    assert row.state == "returned"


async def test_a_return_that_is_replayed_behind_the_cancellation_finds_nothing_left(loyalty: Loyalty) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000)
    await loyalty.hear(came_back(bought, {1: 40_000}))
    await give_up(loyalty)
    await loyalty.hear(cancelled(bought))
    await loyalty.hear(bought)
    assert await loyalty.balance(customer_id) == 0
    await loyalty.hear(*await replayed(loyalty))
    assert await loyalty.refused() == ["waited_too_long", "purchase_cancelled"]
    assert await loyalty.balance(customer_id) == 0


async def test_a_purchase_and_its_return_of_a_card_nobody_knows_are_replayed_in_their_order(loyalty: Loyalty) -> None:
    number = card()
    bought = purchase(number, 100_000)
    await loyalty.hear(bought, came_back(bought, {1: 40_000}))
    await give_up(loyalty)
    assert await loyalty.refused() == ["waited_too_long", "waited_too_long"]
    customer_id = await loyalty.knows(number)
    assert await loyalty.said(PointsAccrued) == []
    await loyalty.hear(*await replayed(loyalty))
    assert await loyalty.balance(customer_id) == 30
    assert await loyalty.rows("SELECT 1 FROM waiting") == []
