"""Tills with keys of their own: registered, given a key once, blocked; what a key opens."""

import base64
import re
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from services.loyalty.tables import metadata
from tests.services.loyalty.tills import do, put, with_key
from tests.services.loyalty.world import NOW, OLGA, Loyalty, problem

KEY = re.compile(r"kopilka_till_[a-z2-7]+_[A-Za-z0-9_-]{43}")
NOWHERE = "/till/nowhere"


async def opens(api: httpx.AsyncClient, key: str) -> bool:
    """Behind the door there is nothing at this path, which only those learn whom it lets in."""
    return (await api.get(NOWHERE, headers={"Authorization": f"Bearer {key}"})).status_code == 404


async def listed(api: httpx.AsyncClient) -> list[Any]:
    return list((await api.get("/terminals")).json()["items"])


async def test_a_till_is_registered_and_moved_and_keeps_its_key(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    first = await put(api, "367-04")
    key = await with_key(api)
    moved = await put(api, "367-04", "112")

    assert [first.status_code, moved.status_code] == [201, 200]
    assert first.json() == {
        "terminal_id": "367-04",
        "store_id": "367",
        "key_set_at": None,
        "key_set_by": None,
        "blocked_at": None,
        "blocked_by": None,
        "registered_at": NOW.isoformat().replace("+00:00", "Z"),
        "registered_by": "operator:olga",
    }
    assert moved.json()["store_id"] == "112"
    assert await opens(api, key)


async def test_a_key_names_its_till_and_is_shown_once(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await put(api, "367-04")
    headers = {"Idempotency-Key": "olga-1", **OLGA}
    with capture_logs() as lines:
        answer = await api.post("/terminals/367-04/key", headers=headers)
    again = await api.post("/terminals/367-04/key", headers=headers)

    key = answer.json()["key"]
    assert KEY.fullmatch(key)
    assert base64.b32decode(key.split("_")[2].upper() + "======") == b"367-04"
    assert answer.headers["cache-control"] == "no-store"
    assert await problem(again) == (409, "shown_once")
    assert await opens(api, key)
    (till,) = await listed(api)
    assert (till["key_set_by"], till["key_set_at"]) == ("operator:olga", NOW.isoformat().replace("+00:00", "Z"))

    secret = key.rsplit("_", 1)[-1] if key[-43] != "_" else key[-43:]
    stored = [repr(await loyalty.rows(f"SELECT * FROM {table}")) for table in metadata.tables]
    assert [table for table in stored if secret in table or key in table] == []
    assert secret not in repr(lines)
    assert "terminal_key_set" in repr(lines)


async def test_a_new_key_is_another_one_and_kills_the_old_one_at_once(api: httpx.AsyncClient) -> None:
    old, new = await with_key(api), await with_key(api)
    assert old != new
    assert [await opens(api, key) for key in (old, new)] == [False, True]


async def test_a_blocked_till_is_shut_out_until_it_is_unblocked(api: httpx.AsyncClient) -> None:
    key = await with_key(api)
    blocked = await do(api, "367-04", "block")
    assert (blocked.status_code, blocked.json()["blocked_by"]) == (200, "operator:olga")
    assert not await opens(api, key)
    assert not await opens(api, await with_key(api))

    key = await with_key(api)
    unblocked = await do(api, "367-04", "unblock")
    assert (unblocked.json()["blocked_at"], unblocked.json()["blocked_by"]) == (None, None)
    assert await opens(api, key)


@pytest.mark.parametrize("what", ["key", "block", "unblock"])
async def test_a_till_that_nobody_registered_is_a_problem(api: httpx.AsyncClient, what: str) -> None:
    assert await problem(await do(api, "367-99", what)) == (404, "terminal_not_found")


@pytest.mark.parametrize("form", [{}, {"store_id": ""}, {"store_id": "s" * 65}, {"store_id": "367", "store": "367"}])
async def test_a_till_stands_in_a_store(api: httpx.AsyncClient, form: dict[str, str]) -> None:
    answer = await api.put("/terminals/367-04", json=form)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] in ("store_id", "store")
    assert await listed(api) == []


@pytest.mark.parametrize("terminal_id", ["7", "Касса №4", "till_4", "367/04", "key/key", "к" * 64, "\U0001f4b0" * 64])
async def test_whatever_a_till_is_called_it_gets_a_key_that_opens(api: httpx.AsyncClient, terminal_id: str) -> None:
    key = await with_key(api, terminal_id)
    assert key.isascii()
    assert await opens(api, key)


async def test_who_has_no_right_key_learns_nothing_of_the_tills(api: httpx.AsyncClient) -> None:
    key, blocked, without = await with_key(api), await with_key(api, "367-05"), "367-06"
    await do(api, "367-05", "block")
    await put(api, without)
    other_secret = "A" * 43
    tried = {
        "no header": None,
        "another scheme": f"Basic {key}",
        "nothing": "Bearer ",
        "no key": "Bearer hello",
        "not base64": f"Bearer {key}=",
        "not ASCII": "Bearer ключ",
        "the secret alone": f"Bearer {key[-43:]}",
        "a blocked till": f"Bearer {blocked}",
        "a wrong secret": f"Bearer {named('367-04')}_{other_secret}",
        "another till's secret": f"Bearer {named('367-04')}_{blocked[-43:]}",
        "an unknown till": f"Bearer {named('367-99')}_{key[-43:]}",
        "a till without a key": f"Bearer {named(without)}_{other_secret}",
        "no till": f"Bearer {named('')}_{key[-43:]}",
        "an impossible length": f"Bearer kopilka_till_aaa_{key[-43:]}",
        "NUL in the name": f"Bearer {named(chr(0))}_{key[-43:]}",
        "no UTF-8 in the name": f"Bearer kopilka_till_74_{key[-43:]}",
    }
    answers = []
    for authorization in tried.values():
        headers = [] if authorization is None else [(b"Authorization", authorization.encode())]
        answers.append(await api.get(NOWHERE, headers=headers))

    told = [{**answer.json(), "instance": ""} for answer in answers]
    assert dict(zip(tried, told, strict=True)) == dict.fromkeys(tried, told[0])
    assert told[0]["type"] == "urn:kopilka:problem:unauthorized"
    assert {(answer.status_code, answer.headers["www-authenticate"]) for answer in answers} == {(401, "Bearer")}
    assert await opens(api, key)


def named(terminal_id: str) -> str:
    return f"kopilka_till_{base64.b32encode(terminal_id.encode()).decode().rstrip('=').lower()}"


async def test_the_tills_are_listed_in_pages_without_their_keys(api: httpx.AsyncClient) -> None:
    keys = [await with_key(api, f"367-0{number}") for number in (3, 1, 2)]
    first = (await api.get("/terminals", params={"limit": 2})).json()
    second = (await api.get("/terminals", params={"limit": 2, "cursor": first["next"]})).json()

    tills = [*first["items"], *second["items"]]
    assert [till["terminal_id"] for till in tills] == ["367-01", "367-02", "367-03"]
    assert second["next"] is None
    assert not any("hash" in name or name == "key" for till in tills for name in till)
    assert not any(key[-43:] in repr(tills) for key in keys)
