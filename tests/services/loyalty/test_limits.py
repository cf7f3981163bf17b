"""Limits: counted by the purchases' own time, whatever the batches; soft ones flag, hard ones withhold and refuse."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import new_id
from contracts.customers import Contact
from contracts.limits import ReviewOpened
from contracts.loyalty import PointsAccrued
from contracts.purchases import PurchaseCompleted
from services.loyalty import limits, tables
from services.loyalty.limits import Deed, Tally
from services.loyalty.terms import all_terms
from tests.harness import statements, until, waiters
from tests.services.loyalty.test_programme import change
from tests.services.loyalty.tills import Till, paid, rich
from tests.services.loyalty.world import NOW, Loyalty, came_back, cancelled, card, problem, purchase

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def limit(per: str, measure: str, most: int, **other: Any) -> dict[str, Any]:
    window = None if measure == "receipt_total_minor" else "hour"
    return {"code": f"{per}_{measure}", "per": per, "measure": measure, "window": window, "most": most, **other}


def at_minute(number: str, minute: int, *totals: int, **other: Any) -> PurchaseCompleted:
    return purchase(number, *(totals or (2_000,)), completed_at=NOW - 3 * HOUR + minute * MINUTE, **other)


async def flagged(loyalty: Loyalty) -> list[tuple[str, str, int]]:
    rows = await loyalty.rows("SELECT limit_code, receipt_id, counted FROM reviews ORDER BY id")
    return [tuple(row) for row in rows]


async def withheld(loyalty: Loyalty) -> list[str | None]:
    """Of each purchase in the order in which it came, why it earned nothing."""
    return [each.withheld for each in await loyalty.said(PointsAccrued)]


def groupings(many: int) -> Iterator[list[list[int]]]:
    """All ways in which so many records can come in batches, in their order: their places."""
    for cuts in product((False, True), repeat=many - 1):
        batches = [[0]]
        for place, cut in enumerate(cuts, 1):
            if cut:
                batches.append([])
            batches[-1].append(place)
        yield batches


async def test_a_limit_of_three_is_the_same_limit_however_the_purchases_are_batched(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("card", "purchases", 3, hard=True)])
    minutes = [0, 50, 40, 10, 130, 65, 61]
    expected = [False, False, False, True, False, True, True]
    for grouping in groupings(len(minutes)):
        number = card()
        await loyalty.knows(number)
        bought = [at_minute(number, minute) for minute in minutes]
        for batch in grouping:
            await loyalty.hear(*(bought[place] for place in batch))
        rows = await loyalty.rows("SELECT receipt_id, withheld FROM purchases WHERE card_number = :card", card=number)
        found = {row.receipt_id: row.withheld for row in rows}
        reasons = ["limit_card_purchases" if each else None for each in expected]
        assert [found[each.receipt_id] for each in bought] == reasons, grouping
    assert await loyalty.differences() == []


async def test_ten_purchases_of_one_batch_against_a_limit_of_three(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("card", "purchases", 3, hard=True)])
    number = card()
    customer_id = await loyalty.knows(number)
    await loyalty.hear(*(at_minute(number, minute) for minute in range(10)))
    assert await withheld(loyalty) == [None] * 3 + ["limit_card_purchases"] * 7
    assert await loyalty.balance(customer_id) == 3


async def test_what_breaks_a_soft_limit_is_credited_and_flagged(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("card", "purchases", 1)])
    number = card()
    customer_id = await loyalty.knows(number)
    first, second = at_minute(number, 0), at_minute(number, 1)
    await loyalty.hear(first, second)

    assert await withheld(loyalty) == [None, None]
    assert await loyalty.balance(customer_id) == 2
    (review,) = await loyalty.rows("SELECT * FROM reviews")
    assert (review.limit_code, review.subject, review.state) == ("card_purchases", number, "open")
    assert (review.counted, review.most, review.hard) == (2, 1, False)
    assert (review.receipt_id, review.customer_id, review.flagged_at) == (second.receipt_id, customer_id, NOW)
    (said,) = await loyalty.said(ReviewOpened)
    assert (said.key, said.limit, said.counted, said.receipt_id) == (
        str(customer_id),
        "card_purchases",
        2,
        second.receipt_id,
    )
    assert number not in said.model_dump_json()


async def test_what_breaks_a_hard_limit_is_recorded_earns_nothing_and_does_not_count_for_the_level(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await loyalty.set_terms(limits=[limit("card", "receipt_total_minor", 100_000, hard=True)])
    number = card()
    customer_id = await loyalty.knows(number)
    large, small = at_minute(number, 0, 100_001), at_minute(number, 1, 100_000)
    await loyalty.hear(large, small)

    assert [(each.points, each.withheld) for each in await loyalty.said(PointsAccrued)] == [
        (0, "limit_card_receipt_total_minor"),
        (50, None),
    ]
    receipt = (await api.get(f"/purchases/{large.receipt_id}")).json()
    assert (receipt["points"], receipt["withheld"]) == (0, "limit_card_receipt_total_minor")
    assert [line["why"] for line in receipt["lines"]] == ["limit_card_receipt_total_minor"]
    (account,) = (await api.get(f"/customers/{customer_id}/balance")).json()["accounts"]
    assert account["spent_minor"] == 100_000
    assert await flagged(loyalty) == [("card_receipt_total_minor", large.receipt_id, 100_001)]
    assert await loyalty.differences() == []


@pytest.mark.parametrize(
    ("per", "broken"), [("card", [2, 3]), ("customer", [1, 2, 3]), ("terminal", [2, 4]), ("card_at_terminal", [2])]
)
async def test_each_limit_counts_its_own_subject(loyalty: Loyalty, per: str, broken: list[int]) -> None:
    await loyalty.set_terms(limits=[limit(per, "purchases", 1)])
    first, second, of_other = card(), card(), card()
    customer_id = await loyalty.knows(first)
    await loyalty.knows(second, customer_id)
    await loyalty.knows(of_other)
    bought = [
        at_minute(first, 0, terminal_id="a"),
        at_minute(second, 1, terminal_id="b"),
        at_minute(first, 2, terminal_id="a"),
        at_minute(first, 3, terminal_id="c"),
        at_minute(of_other, 4, terminal_id="b"),
    ]
    await loyalty.hear(*bought)
    assert [receipt for _, receipt, _ in await flagged(loyalty)] == [bought[place].receipt_id for place in broken]


async def test_a_purchase_without_a_card_is_no_cards_purchase(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("card", "purchases", 1), limit("card_at_terminal", "purchases", 1)])
    customer_id = new_id()
    await loyalty.hear(Contact(customer_id=customer_id))
    await loyalty.hear(*(purchase(None, 2_000, customer_id=customer_id) for _ in range(3)))
    assert len(await loyalty.said(PointsAccrued)) == 3
    assert await flagged(loyalty) == []


async def test_points_are_counted_as_they_were_earned_and_withheld_ones_are_not(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("customer", "points_earned", 100, hard=True)])
    number = card()
    await loyalty.knows(number)
    await loyalty.hear(at_minute(number, 0, 120_000), at_minute(number, 1, 100_000), at_minute(number, 2, 80_000))
    await loyalty.hear(at_minute(number, 3, 2_000), at_minute(number, 4, 1))
    assert [each.points for each in await loyalty.said(PointsAccrued)] == [60, 0, 40, 0, 0]
    assert [counted for _, _, counted in await flagged(loyalty)] == [110, 101]


async def test_a_purchase_that_adds_nothing_breaks_nothing(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("customer", "points_earned", 10)])
    number = card()
    await loyalty.knows(number)
    beyond = at_minute(number, 0, 100_000)
    await loyalty.hear(beyond, at_minute(number, 1, 1))
    assert [receipt for _, receipt, _ in await flagged(loyalty)] == [beyond.receipt_id]


async def test_a_window_is_sixty_minutes_of_the_purchases_own_time(loyalty: Loyalty) -> None:
    of_day = {**limit("card", "purchases", 2), "code": "day", "window": "day"}
    await loyalty.set_terms(limits=[limit("card", "purchases", 1), of_day])
    number = card()
    await loyalty.knows(number)
    await loyalty.hear(at_minute(number, 0))
    await loyalty.hear(at_minute(number, 60))
    assert await flagged(loyalty) == []
    late = at_minute(number, 59)
    await loyalty.hear(late)
    assert await flagged(loyalty) == [("card_purchases", late.receipt_id, 2), ("day", late.receipt_id, 3)]


async def test_receipts_of_an_offline_till_that_come_backwards_do_not_slip_through(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("terminal", "purchases", 2, hard=True)])
    numbers = [card() for _ in range(4)]
    for number in numbers:
        await loyalty.knows(number)
    for minute, number in zip((30, 20, 10, 0), numbers, strict=True):
        await loyalty.hear(at_minute(number, minute))
    assert await withheld(loyalty) == [None, None, "limit_terminal_purchases", "limit_terminal_purchases"]


async def test_a_purchase_goes_by_the_limits_of_its_own_time(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    assert (await change(api, limits=[limit("card", "purchases", 0)])).status_code == 201
    number = card()
    await loyalty.knows(number)
    before, after = purchase(number, 2_000), purchase(number, 2_000, completed_at=NOW)
    await loyalty.hear(before, after)
    assert [receipt for _, receipt, _ in await flagged(loyalty)] == [after.receipt_id]
    newest = (await api.get("/terms")).json()[0]
    assert [each["term"] for each in newest["changes"]] == ["limits"]


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ([limit("card", "purchases", 1), limit("card", "purchases", 2)], "limits"),
        ([{**limit("card", "purchases", 1), "window": None}], "limits"),
        ([{**limit("card", "receipt_total_minor", 1), "window": "day"}], "limits"),
        ([limit("card", "unmatched_returns", 1)], "limits"),
        ([limit("card", "returns", 1, hard=True)], "limits"),
        ([limit("terminal", "unmatched_returns", 1, hard=True)], "limits"),
        ([{**limit("card", "purchases", 1), "code": "c" * 41}], "limits[0].code"),
        ([limit("card", "purchases", -1)], "limits[0].most"),
        ([limit("shop", "purchases", 1)], "limits[0].per"),
    ],
)
async def test_limits_that_make_no_sense_are_refused_by_their_field(
    loyalty: Loyalty, api: httpx.AsyncClient, broken: list[dict[str, Any]], field: str
) -> None:
    refused = await change(api, limits=broken)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


async def test_the_longest_code_of_a_limit_fits_into_the_events(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[{**limit("card", "purchases", 0, hard=True), "code": "c" * 40}])
    number = card()
    await loyalty.knows(number)
    await loyalty.hear(purchase(number, 2_000))
    assert await withheld(loyalty) == ["limit_" + "c" * 40]


async def test_without_limits_a_batch_costs_no_query_more(loyalty: Loyalty) -> None:
    numbers = [card() for _ in range(3)]
    for number in numbers:
        await loyalty.knows(number)
    bare, first = await _statements(loyalty, purchase(numbers[0], 2_000))
    await loyalty.set_terms(limits=[limit("card", "receipt_total_minor", 1_000_000)])
    by_itself, _ = await _statements(loyalty, purchase(numbers[1], 2_000))
    await loyalty.set_terms(limits=[limit("terminal", "purchases", 100), limit("card", "purchases", 100)])
    counted, _ = await _statements(loyalty, *(purchase(numbers[2], 2_000) for _ in range(20)))
    assert not any("asked" in statement or "reviews" in statement for statement in first)
    assert (by_itself - bare, counted - bare) == (0, 2)


async def _statements(loyalty: Loyalty, *bought: PurchaseCompleted) -> tuple[int, list[str]]:
    """What a batch runs, the reading of new terms aside."""
    with statements() as seen:
        await loyalty.hear(*bought)
    told = [each for each in seen if "FROM terms WHERE" not in each]
    return len(told), told


async def test_without_limits_nobody_looks_at_the_purchases(loyalty: Loyalty) -> None:
    def deeds() -> Iterator[Deed]:
        raise AssertionError("looked at")
        yield

    async with loyalty.database.reading() as tx:
        assert await limits.count_purchases(tx, deeds(), await all_terms(tx)) is None


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 9)), max_size=12), st.integers(0, 300), st.integers(1, 120)
)
def test_a_tally_finds_the_fullest_window(amounts: list[tuple[int, int]], at: int, length: int) -> None:
    tally = Tally()
    for minute, amount in amounts:
        tally.add(NOW + minute * MINUTE, amount)
    fullest = max(
        sum(amount for minute, amount in amounts if end - length < minute <= end) for end in range(at, at + length)
    )
    assert tally.most_around(NOW + at * MINUTE, length * MINUTE) == fullest


async def test_a_hard_limit_refuses_the_quote_and_names_itself(loyalty: Loyalty, till: Till) -> None:
    await loyalty.set_terms(limits=[limit("card", "purchases", 1, hard=True), limit("card", "points_earned", 0)])
    number = card()
    await loyalty.knows(number)
    await till.quote(purchase(number, 2_000))
    await loyalty.hear(purchase(number, 2_000, completed_at=NOW))
    wanted = purchase(number, 2_000)
    refused = await till.ask(wanted.receipt_id, "quote", **_form(wanted))
    assert await problem(refused) == (409, "limit_reached")
    assert "card_purchases" in refused.json()["detail"]


def _form(bought: PurchaseCompleted) -> dict[str, Any]:
    return bought.model_dump(mode="json", include={"card_number", "currency", "lines"})


async def test_a_quote_does_not_wait_for_those_who_count_at_its_terminal(loyalty: Loyalty, till: Till) -> None:
    await loyalty.set_terms(limits=[limit("terminal", "purchases", 1, hard=True)])
    number = card()
    await loyalty.knows(number)
    async with loyalty.database.transaction() as tx, asyncio.timeout(10):
        await limits.count_purchases(tx, [Deed(NOW, None, None, "367-04")], await all_terms(tx))
        await till.quote(purchase(number, 2_000))


async def test_points_held_for_other_purchases_count_as_spent(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    await loyalty.set_terms(limits=[limit("customer", "points_spent", 50, hard=True)])
    number, _ = await rich(loyalty, api)
    first, second = purchase(number, 100_000, completed_at=NOW), purchase(number, 100_000, completed_at=NOW)
    await till.quote(first)
    await till.quote(second)
    hold = await till.hold(first, 30)
    assert await problem(await till.ask(second.receipt_id, "hold", points=21)) == (409, "limit_reached")
    await loyalty.hear(paid(first, hold))
    assert await problem(await till.ask(second.receipt_id, "hold", points=21)) == (409, "limit_reached")
    await till.hold(second, 20)


async def test_a_limit_that_was_reached_after_the_quote_refuses_the_hold(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    await loyalty.set_terms(limits=[limit("terminal", "purchases", 1, hard=True)])
    number, _ = await rich(loyalty, api)
    wanted = purchase(number, 2_000)
    await till.quote(wanted)
    await loyalty.hear(purchase(number, 2_000, completed_at=NOW, terminal_id="367-04"))
    assert await problem(await till.ask(wanted.receipt_id, "hold", points=1)) == (409, "limit_reached")


async def test_the_holds_of_a_till_at_once_spend_no_more_than_its_hard_limit(
    loyalty: Loyalty, api: httpx.AsyncClient, till: Till
) -> None:
    await loyalty.set_terms(limits=[limit("terminal", "points_spent", 50, hard=True)])
    bought = [purchase((await rich(loyalty, api))[0], 100_000) for _ in range(6)]
    for each in bought:
        await till.quote(each)
    answers = await asyncio.gather(*(till.ask(each.receipt_id, "hold", points=20) for each in bought))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409, 409]


async def _meanwhile(loyalty: Loyalty, first: PurchaseCompleted, second: PurchaseCompleted, *, both_wait: bool) -> None:
    """The first one's transaction is held back after it has counted; then the second one comes, elsewhere."""
    other = Loyalty(loyalty.settings)

    def so_many_wait(many: int) -> Any:
        async def wait() -> bool:
            return await waiters(loyalty.database) == many

        return wait

    async with asyncio.TaskGroup() as tills, loyalty.database.engine.connect() as holding_back:
        await holding_back.execute(sa.insert(tables.purchases).values(receipt_id=first.receipt_id, state="awaited"))
        tills.create_task(loyalty.hear(first))
        await until(so_many_wait(1), what="the first one has counted and is held back")
        later = tills.create_task(other.hear(second))
        if both_wait:
            await until(so_many_wait(2), what="the second one waits to count")
        else:
            await later
        await holding_back.rollback()
    await other.close()


@pytest.mark.parametrize("is_hard", [True, False])
async def test_two_batches_of_one_customer_at_once_count_after_one_another(loyalty: Loyalty, is_hard: bool) -> None:
    await loyalty.set_terms(limits=[limit("customer", "purchases", 1, hard=is_hard)])
    first, second = card(), card()
    await loyalty.knows(second, await loyalty.knows(first))
    await _meanwhile(loyalty, purchase(first, 2_000), purchase(second, 2_000), both_wait=True)
    assert [counted for _, _, counted in await flagged(loyalty)] == [2]


async def test_two_batches_of_one_terminal_at_once_keep_a_hard_limit(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("terminal", "purchases", 1, hard=True)])
    first, second = card(), card()
    await loyalty.knows(first)
    await loyalty.knows(second)
    await _meanwhile(loyalty, purchase(first, 2_000), purchase(second, 2_000), both_wait=True)
    assert sorted(map(str, await withheld(loyalty))) == ["None", "limit_terminal_purchases"]


async def test_a_soft_limit_of_a_terminal_makes_nobody_wait(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("terminal", "purchases", 1)])
    first, second, third = card(), card(), card()
    for number in (first, second, third):
        await loyalty.knows(number)
    await _meanwhile(loyalty, purchase(first, 2_000), purchase(second, 2_000), both_wait=False)
    assert await flagged(loyalty) == []
    await loyalty.hear(purchase(third, 2_000))
    assert [counted for _, _, counted in await flagged(loyalty)] == [3]


@pytest.mark.parametrize(
    ("source", "table", "column", "kind"),
    [
        (limits.PURCHASES, "purchases", "terminal_id", "text"),
        (limits.PURCHASES, "purchases", "customer_id", "uuid"),
        (limits.RETURNS, "returns", "terminal_id", "text"),
        (limits.RETURNS, "returns", "customer_id", "uuid"),
        (limits.UNMATCHED, "unmatched_returns", "terminal_id", "text"),
    ],
)
async def test_what_is_counted_is_found_by_an_index(
    loyalty: Loyalty, source: str, table: str, column: str, kind: str
) -> None:
    time = "at" if table == "purchases" else "returned_at"
    index = f"{table}_{column}_{time}_idx"
    query = source.format(asked=limits.ASKED.format(kind=kind), subject=column)
    for values, dummy in (("$1", "ARRAY[md5('7')::{kind}]"), ("$2", "ARRAY[now()]"), ("$3", "ARRAY[now()]")):
        query = query.replace(values, dummy.format(kind=kind))
    async with loyalty.database.engine.connect() as connection:
        await connection.exec_driver_sql(FILL[table])
        await connection.exec_driver_sql(f"ANALYZE {table}")
        plan = "\n".join(row[0] for row in await connection.exec_driver_sql(f"EXPLAIN {query}"))
        await connection.rollback()
    assert index in plan, plan
    assert "Seq Scan" not in plan, plan


MANY_ROWS = "FROM generate_series(1, 20000) AS n"
MOMENT = "now() - n * interval '1 minute'"
FILL = {
    "purchases": f"INSERT INTO purchases (receipt_id, state, customer_id, terminal_id, completed_at) "
    f"SELECT n::text, 'completed', md5((n % 500)::text)::uuid, md5((n % 500)::text), {MOMENT} {MANY_ROWS}",
    "returns": "INSERT INTO returns (return_id, receipt_id, operation_id, returned_at, total_minor, points, "
    "content_hash, lines, customer_id, terminal_id) "
    f"SELECT n::text, n::text, md5(n::text)::uuid, {MOMENT}, 1, 1, 1, '[]', md5((n % 500)::text)::uuid, "
    f"md5((n % 500)::text) {MANY_ROWS}",
    "unmatched_returns": "INSERT INTO unmatched_returns (return_id, terminal_id, returned_at) "
    f"SELECT n::text, md5((n % 500)::text), {MOMENT} {MANY_ROWS}",
}


@pytest.mark.parametrize("per", ["card", "customer", "terminal", "card_at_terminal"])
async def test_too_many_returns_are_flagged_and_take_back_as_ever(loyalty: Loyalty, per: str) -> None:
    await loyalty.set_terms(limits=[limit(per, "returns", 1)])
    number = card()
    customer_id = await loyalty.knows(number)
    bought = [purchase(number, 2_000) for _ in range(3)]
    await loyalty.hear(*bought)
    back = [came_back(each, {1: 2_000}) for each in bought[:2]]
    await loyalty.hear(*back)
    await loyalty.hear(back[1], cancelled(bought[2]))

    rows = await loyalty.rows("SELECT return_id, counted, operation_id FROM reviews ORDER BY id")
    assert [(row.return_id, row.counted) for row in rows] == [
        (back[1].return_id, 2),
        (f"cancelled:{bought[2].receipt_id}", 3),
    ]
    said = [(each.return_id, each.measure) for each in await loyalty.said(ReviewOpened)]
    assert said == [(back[1].return_id, "returns"), (bought[2].receipt_id, "returns")]
    assert await loyalty.balance(customer_id) == 0


async def test_returns_whose_purchase_does_not_come_are_flagged_by_their_till(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("terminal", "unmatched_returns", 1)])
    number = card()
    customer_id = await loyalty.knows(number)
    bought = [purchase(number, 2_000) for _ in range(4)]
    first, second, third, fourth = (came_back(each, {1: 2_000}) for each in bought)
    await loyalty.hear(first, first)
    await loyalty.hear(bought[0])
    await loyalty.hear(second)
    assert await flagged(loyalty) == []
    await loyalty.hear(third)
    (review,) = await loyalty.rows("SELECT * FROM reviews")
    assert (review.return_id, review.subject, review.counted) == (third.return_id, "367-1", 2)
    assert (review.customer_id, review.operation_id) == (customer_id, None)
    await loyalty.hear(came_back(bought[3], {1: 2_000}, returned_at=NOW - HOUR, return_id=fourth.return_id))
    assert len(await flagged(loyalty)) == 1


async def test_a_return_of_a_card_that_nobody_has_waits_with_its_purchase_and_is_not_counted(loyalty: Loyalty) -> None:
    await loyalty.set_terms(limits=[limit("terminal", "unmatched_returns", 0)])
    number = card()
    bought = purchase(number, 2_000)
    await loyalty.hear(bought, came_back(bought, {1: 2_000}))
    assert len(await loyalty.rows("SELECT 1 FROM waiting")) == 2
    await loyalty.knows(number)
    assert await flagged(loyalty) == []
    assert await loyalty.differences() == []
