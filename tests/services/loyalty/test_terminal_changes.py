"""The history of a till: who did what to it, also when they did it at once."""

import asyncio
import importlib
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from chassis.actor import Actor
from services.loyalty import terminals
from tests.services.loyalty.test_concurrency import until_waiting
from tests.services.loyalty.tills import do, put
from tests.services.loyalty.world import NOW, Loyalty, problem

ANNA = Actor("operator", "anna")
MIGRATION = importlib.import_module("services.loyalty.migrations.0015_changes_of_terminals")


async def changes(api: httpx.AsyncClient, terminal_id: str = "367-04", **page: Any) -> Any:
    answer = await api.get(f"/terminals/{quote(terminal_id, safe='')}/changes", params=page)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def told(api: httpx.AsyncClient, terminal_id: str = "367-04") -> list[tuple[str, str, str | None]]:
    return [(each["what"], each["actor"], each["store_id"]) for each in (await changes(api, terminal_id))["items"]]


async def done_by(api: httpx.AsyncClient, name: str, what: str) -> None:
    headers = {"Kopilka-Actor": f"operator:{name}", "Idempotency-Key": str(uuid4())}
    answer = await api.post(f"/terminals/367-04/{what}", headers=headers)
    assert answer.is_success, answer.text


async def test_everything_done_to_a_till_is_kept_with_who_did_it(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await put(api, "367-04")
    await done_by(api, "boris", "key")
    await done_by(api, "anna", "block")
    loyalty.use_clock(lambda: NOW + timedelta(hours=1))
    await done_by(api, "boris", "unblock")
    await put(api, "367-04", "112")

    assert await told(api) == [
        ("moved", "operator:olga", "112"),
        ("unblocked", "operator:boris", None),
        ("blocked", "operator:anna", None),
        ("key_set", "operator:boris", None),
        ("registered", "operator:olga", "367"),
    ]
    assert [each["at"] for each in (await changes(api))["items"]] == [
        *["2025-11-02T13:00:00Z"] * 2,
        *["2025-11-02T12:00:00Z"] * 3,
    ]


async def test_what_changes_nothing_adds_nothing(api: httpx.AsyncClient) -> None:
    await put(api, "367-04")
    await done_by(api, "anna", "unblock")
    await done_by(api, "anna", "block")
    await done_by(api, "boris", "block")
    assert (await put(api, "367-04")).json()["blocked_by"] == "operator:anna"
    assert [(what, who) for what, who, _ in await told(api)] == [
        ("blocked", "operator:anna"),
        ("registered", "operator:olga"),
    ]


async def test_a_request_sent_again_is_in_the_history_once(api: httpx.AsyncClient) -> None:
    await put(api, "367-04")
    for _ in range(2):
        await api.post("/terminals/367-04/key", headers={"Idempotency-Key": "once"})
    assert [what for what, _, _ in await told(api)] == ["key_set", "registered"]


async def test_a_change_that_came_to_nothing_is_not_in_the_history(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await put(api, "367-04")
    with pytest.raises(ConnectionResetError):
        async with loyalty.database.transaction() as tx:
            await terminals.block(tx, "367-04", ANNA)
            raise ConnectionResetError
    assert [what for what, _, _ in await told(api)] == ["registered"]


@pytest.mark.parametrize("terminal_id", ["367/04", "367-04/changes", "Касса №4"])
async def test_each_till_has_a_history_of_its_own(api: httpx.AsyncClient, terminal_id: str) -> None:
    await put(api, "367-05")
    await put(api, quote(terminal_id, safe=""))
    await do(api, quote(terminal_id, safe=""), "block")
    assert [what for what, _, _ in await told(api, terminal_id)] == ["blocked", "registered"]
    assert [what for what, _, _ in await told(api, "367-05")] == ["registered"]


async def test_a_till_that_nobody_registered_has_no_history(api: httpx.AsyncClient) -> None:
    assert await problem(await api.get("/terminals/367-99/changes")) == (404, "terminal_not_found")


async def test_the_history_comes_in_pages(api: httpx.AsyncClient) -> None:
    await put(api, "367-04")
    for _ in range(2):
        await do(api, "367-04", "key")
    first = await changes(api, limit=2)
    second = await changes(api, limit=2, cursor=first["next"])
    assert [[each["what"] for each in page["items"]] for page in (first, second)] == [
        ["key_set", "key_set"],
        ["registered"],
    ]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("what", "history"),
    [("block", ["blocked"]), ("unblock", ["unblocked", "blocked"]), ("key", ["key_set", "blocked"])],
)
async def test_of_two_writers_at_once_the_second_one_sees_what_the_first_one_did(
    loyalty: Loyalty, api: httpx.AsyncClient, what: str, history: list[str]
) -> None:
    await put(api, "367-04")
    async with loyalty.database.transaction() as tx:
        await terminals.block(tx, "367-04", ANNA)
        beside = asyncio.create_task(do(api, "367-04", what))
        await until_waiting(loyalty)
    assert (await beside).is_success
    assert [what for what, _, _ in await told(api)] == [*history, "registered"]
    assert (await told(api))[-2] == ("blocked", "operator:anna", None)


async def test_two_who_register_a_till_at_once_are_both_in_its_history(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    async with loyalty.database.transaction() as tx:
        assert await terminals.register(tx, "367-04", "367", ANNA)
        same, other = [asyncio.create_task(put(api, "367-04", store)) for store in ("367", "112")]
        await until_waiting(loyalty)
    assert [(await each).status_code for each in (same, other)] == [200, 200]
    history = await told(api)
    assert history[-2:] == [("moved", "operator:olga", "112"), ("registered", "operator:anna", "367")]


async def test_many_at_once_leave_a_history_that_ends_where_the_till_is(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    await put(api, "367-04")
    await asyncio.gather(*(do(api, "367-04", what) for what in ("block", "unblock") * 10))
    history = [what for what, _, _ in await told(api)][:-1]
    assert history == [("blocked", "unblocked")[place % 2] for place in reversed(range(len(history)))]
    (till,) = (await api.get("/terminals")).json()["items"]
    assert (till["blocked_by"] is not None) == (history[:1] == ["blocked"])


async def test_what_is_known_of_tills_of_before_is_in_their_history(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    for terminal_id in ("367-04", "367-05"):
        await put(api, terminal_id)
    await done_by(api, "boris", "key")
    loyalty.use_clock(lambda: NOW + timedelta(hours=1))
    await done_by(api, "anna", "block")
    before = await changes(api)
    await loyalty.rows("DELETE FROM terminal_changes")
    await loyalty.rows(MIGRATION.OF_BEFORE)

    since = await changes(api)
    assert since["items"] == [*before["items"][:-1], before["items"][-1] | {"store_id": None}]
    assert await told(api, "367-05") == [("registered", "operator:olga", None)]
    await done_by(api, "boris", "unblock")
    assert (await told(api))[0] == ("unblocked", "operator:boris", None)
