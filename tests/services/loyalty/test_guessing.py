"""Guessing cards at the quote: a till hears so often that nobody has a card, then it gets no quotes for a while."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa

from contracts.customers import Card
from contracts.fields import ean13_check_digit
from tests.harness import statements
from tests.services.loyalty.tills import Till, with_key
from tests.services.loyalty.world import NOW, Loyalty, card, problem, purchase

MOST = 3


@pytest.fixture
async def till(loyalty: Loyalty, api: httpx.AsyncClient) -> AsyncIterator[Till]:
    await loyalty.set_terms(guesses_per_hour=MOST)
    yield Till(api, await with_key(api))


async def ask(till: Till, number: str | None, **other: Any) -> httpx.Response:
    wanted = purchase(number, 2_000, **other)
    form = wanted.model_dump(mode="json", include={"card_number", "phone", "customer_id", "currency", "lines"})
    return await till.ask(wanted.receipt_id, "quote", **form)


async def guess(till: Till, times: int) -> list[int]:
    return [(await ask(till, card())).status_code for _ in range(times)]


def later(loyalty: Loyalty, by: timedelta) -> None:
    loyalty.database.clock = lambda: NOW + by


async def test_a_till_that_guesses_is_told_to_wait(loyalty: Loyalty, till: Till) -> None:
    assert await guess(till, MOST) == [404] * MOST
    refused = await ask(till, card())
    assert await problem(refused) == (429, "too_many_guesses")
    assert refused.headers["Retry-After"] == "3600"


async def test_while_it_waits_known_cards_phones_and_customers_are_answered_alike(loyalty: Loyalty, till: Till) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    await guess(till, MOST)
    answers = [
        await ask(till, number),
        await ask(till, card()),
        await ask(till, None, phone="+79161234567"),
        await ask(till, None, customer_id=customer_id),
    ]
    assert {answer.status_code for answer in answers} == {429}
    assert len({_told(answer) for answer in answers}) == 1
    assert await guess(till, 5) == [429] * 5


async def test_guesses_are_counted_over_sixty_minutes(loyalty: Loyalty, till: Till) -> None:
    number = card()
    await loyalty.knows(number)
    await guess(till, 1)
    later(loyalty, timedelta(minutes=30))
    assert await guess(till, MOST) == [404, 404, 429]
    later(loyalty, timedelta(minutes=59, seconds=59))
    refused = await ask(till, number)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    later(loyalty, timedelta(minutes=60))
    assert (await ask(till, number)).status_code == 200
    assert await guess(till, 2) == [404, 429]
    assert len(await loyalty.rows("SELECT 1 FROM guesses")) == MOST


async def test_where_fewer_guesses_are_allowed_from_now_on_the_last_ones_count(loyalty: Loyalty, till: Till) -> None:
    await guess(till, 1)
    later(loyalty, timedelta(minutes=30))
    await guess(till, 1)
    await loyalty.set_terms(guesses_per_hour=1)
    refused = await ask(till, card())
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3600")


async def test_known_cards_are_no_guesses(loyalty: Loyalty, till: Till) -> None:
    number = card()
    await loyalty.knows(number)
    assert [(await ask(till, number)).status_code for _ in range(2 * MOST)] == [200] * 2 * MOST
    assert await loyalty.rows("SELECT 1 FROM guesses") == []


async def test_another_till_is_not_held_up(loyalty: Loyalty, api: httpx.AsyncClient, till: Till) -> None:
    other = Till(api, await with_key(api, "367-05"))
    await guess(till, MOST + 1)
    assert await guess(other, 1) == [404]


async def test_guesses_at_once_hear_no_more_than_the_terms_allow(loyalty: Loyalty, till: Till) -> None:
    answers = await asyncio.gather(*(ask(till, card()) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [404] * MOST + [429] * (20 - MOST)
    assert len(await loyalty.rows("SELECT 1 FROM guesses")) == MOST


async def test_a_guess_is_counted_though_its_request_is_rolled_back(loyalty: Loyalty, till: Till) -> None:
    await guess(till, 1)
    (row,) = await loyalty.rows("SELECT terminal_id, guessed_at FROM guesses")
    assert (row.terminal_id, row.guessed_at) == ("367-04", NOW)
    for table in ("purchases", "idempotency_keys", "outbox"):
        rows = await loyalty.rows(f"SELECT 1 FROM {table}")
        assert (table, len(rows)) == (table, 1 if table == "idempotency_keys" else 0)


async def test_counting_takes_one_connection_at_a_time(loyalty: Loyalty, till: Till) -> None:
    taken = most = 0

    def took(*_: Any) -> None:
        nonlocal taken, most
        taken += 1
        most = max(most, taken)

    def gave(*_: Any) -> None:
        nonlocal taken
        taken -= 1

    pool = loyalty.database.engine.sync_engine.pool
    sa.event.listen(pool, "checkout", took)
    sa.event.listen(pool, "checkin", gave)
    assert await guess(till, 1) == [404]
    sa.event.remove(pool, "checkout", took)
    sa.event.remove(pool, "checkin", gave)
    assert most == 1


async def test_unknown_blocked_and_foreign_cards_are_answered_alike_by_the_same_queries(
    loyalty: Loyalty, till: Till
) -> None:
    await loyalty.set_terms(guesses_per_hour=100)
    blocked, awaited, foreign = card(), card(), f"460{7:09d}"
    customer_id = await loyalty.knows(blocked)
    await loyalty.hear(Card(card_number=blocked, customer_id=customer_id, state="blocked"))
    await loyalty.hear(purchase(awaited, 2_000))
    unused = UUID("019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e99")
    await ask(till, card())
    told = [
        await _asked(till, number=card()),
        await _asked(till, number=blocked),
        await _asked(till, number=awaited),
        await _asked(till, number=foreign + ean13_check_digit(foreign)),
        await _asked(till, number=None, phone="+79161234567"),
        await _asked(till, number=None, customer_id=unused),
    ]
    assert len(set(told)) == 1
    assert told[0][0][0] == 404


async def _asked(till: Till, number: str | None, **other: Any) -> tuple[Any, tuple[str, ...]]:
    """What the till is told, and the statements that it took."""
    with statements() as seen:
        answer = await ask(till, number, **other)
    return _told(answer), tuple(seen)


def _told(answer: httpx.Response) -> tuple[int, str, str]:
    """All but the trace."""
    body = {name: value for name, value in answer.json().items() if name != "instance"}
    headers = {name: value for name, value in answer.headers.items() if name not in ("traceparent", "date")}
    return answer.status_code, str(body), str(headers)
