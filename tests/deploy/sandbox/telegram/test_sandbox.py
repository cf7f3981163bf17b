"""The sandbox as a whole: what it remembers, its API for scripts, its page, and the process."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from babel.messages.extract import extract

from chassis.languages import catalogue_path
from deploy.local.ports import free_port
from deploy.local.waiting import wait_until
from deploy.sandbox.telegram import page
from deploy.sandbox.telegram.journal import Journal
from deploy.sandbox.telegram.people import KEPT_MESSAGES
from deploy.sandbox.telegram.words import PACKAGE, page_words
from deploy.trouble import Trouble
from tests.telegram_sandbox import RunningSandbox, telegram_sandbox
from tests.texts import texts_of

REPOSITORY = Path(__file__).parents[4]


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[RunningSandbox]:
    async with telegram_sandbox(tmp_path) as running:
        yield running


async def bot(sandbox: RunningSandbox, method: str, **parameters: object) -> Any:
    """What the Bot API answers as `result`."""
    return (await sandbox.http.post(f"/bot{sandbox.token}/{method}", json=parameters)).json()["result"]


async def test_a_restart_keeps_persons_chats_menus_and_waiting_updates(tmp_path: Path) -> None:
    async with telegram_sandbox(tmp_path) as sandbox:
        anna = await sandbox.person()
        await anna.writes("/start")
        await anna.writes("again")
        await bot(sandbox, "sendMessage", chat_id=anna.id, text="Hi", reply_markup={"keyboard": [[{"text": "Yes"}]]})
        await bot(sandbox, "setMyCommands", commands=[{"command": "help", "description": "Help"}])
        (first, second) = await bot(sandbox, "getUpdates")
        await bot(sandbox, "getUpdates", offset=second["update_id"])
        before = await anna.chat(), await anna.messages()

    async with telegram_sandbox(tmp_path) as sandbox:
        again = await sandbox.person()
        assert (again.id, await again.chat(), await again.messages()) == (anna.id, *before)
        assert await bot(sandbox, "getUpdates") == [second]
        assert await bot(sandbox, "getMyCommands") == [{"command": "help", "description": "Help"}]
        await again.writes("third")
        (_, third) = await bot(sandbox, "getUpdates")
        assert first["update_id"] < second["update_id"] < third["update_id"]


async def test_a_line_that_was_torn_by_a_power_cut_costs_nothing_else(tmp_path: Path) -> None:
    async with telegram_sandbox(tmp_path) as sandbox:
        await (await sandbox.person()).writes("/start")
    with (tmp_path / "telegram.jsonl").open("ab") as file:
        file.write(b'{"kind": "mess')
    async with telegram_sandbox(tmp_path) as sandbox:
        assert [message["text"] for message in await (await sandbox.person()).messages()] == ["/start"]


async def test_the_file_is_one_sandboxs_alone(tmp_path: Path) -> None:
    async with telegram_sandbox(tmp_path):
        with pytest.raises(Trouble, match="KOPILKA_HOME"):
            Journal(tmp_path / "telegram.jsonl")


async def test_a_chat_keeps_its_newest_messages_only(sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    chat = sandbox.sandbox.world.chats[anna.id]
    for number in range(KEPT_MESSAGES + 5):
        sandbox.sandbox.world.write(chat, str(number))
    texts = [message["text"] for message in await anna.messages()]
    assert (len(texts), texts[0], texts[-1]) == (KEPT_MESSAGES, "5", str(KEPT_MESSAGES + 4))


async def test_a_phone_belongs_to_one_person_however_it_is_written(sandbox: RunningSandbox) -> None:
    anna = await sandbox.person(phone="+79161234567")
    again = await sandbox.http.post("/sandbox/persons", json={"first_name": "A", "phone": "8 (916) 123-45-67"})
    assert (again.status_code, again.json()["id"], again.json()["first_name"]) == (200, anna.id, "Анна")
    bad = await sandbox.http.post("/sandbox/persons", json={"first_name": "A", "phone": "call me"})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "phone")


async def test_the_list_counts_what_was_not_read_and_finds_people(sandbox: RunningSandbox) -> None:
    anna, oleg = await sandbox.person("Анна"), await sandbox.person("Олег", phone="+79990001122")
    await anna.writes("/start")
    for text in ("one", "two"):
        await bot(sandbox, "sendMessage", chat_id=anna.id, text=text)
    listed = (await sandbox.http.get("/sandbox/persons")).json()
    assert [(chat["id"], chat["unread"]) for chat in listed] == [(anna.id, 2), (oleg.id, 0)]
    await sandbox.http.post(f"/sandbox/persons/{anna.id}/read")
    assert (await anna.chat())["unread"] == 0
    for search in ("олег", "9990001"):
        found = (await sandbox.http.get("/sandbox/persons", params={"search": search})).json()
        assert [chat["id"] for chat in found] == [oleg.id]


async def test_what_a_person_cannot_do_is_a_problem_that_says_why(sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    nobody = await sandbox.http.post("/sandbox/persons/1/text", json={"text": "x"}, headers={"Accept-Language": "ru"})
    assert (nobody.status_code, nobody.json()["title"]) == (404, "Человек не найден")
    button = await sandbox.http.post(f"/sandbox/persons/{anna.id}/press", json={"data": "nps:1:9"})
    assert (button.status_code, button.json()["type"]) == (409, "urn:kopilka:problem:no_such_button")
    await anna.blocks()
    blocked = await sandbox.http.post(f"/sandbox/persons/{anna.id}/text", json={"text": "x"})
    assert (blocked.status_code, blocked.json()["type"]) == (409, "urn:kopilka:problem:bot_is_blocked")


async def test_whoever_watches_is_told_at_once(sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    told: list[dict[str, Any]] = []
    async with sandbox.http.stream("GET", "/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.aiter_lines()
        while not (await anext(lines)).startswith("retry"):
            pass
        await anna.writes("/start")
        async with asyncio.timeout(10):
            while len(told) < 2:
                line = await anext(lines)
                if line.startswith("data: "):
                    told.append(json.loads(line.removeprefix("data: ")))
    assert [(fact["kind"], fact["chat"]) for fact in told[:1]] == [("message", anna.id)]
    assert (told[1]["kind"], told[1]["chat"]["id"], told[1]["chat"]["started"]) == ("chat", anna.id, True)


async def test_a_foreign_host_name_is_turned_away(sandbox: RunningSandbox) -> None:
    answer = await sandbox.http.get("/sandbox/persons", headers={"Host": "evil.example"})
    assert answer.status_code == 421


def test_every_text_of_the_page_and_the_program_is_in_both_languages() -> None:
    page_source = (page.FOLDER / "index.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'data-(?:text|hint|label)="([^"]+)"', page_source))
    with (page.FOLDER / "chat.js").open("rb") as script:
        said_by_script = extract("javascript", script, keywords={"_": None}, options={"parse_template_string": True})
        shown |= {text for _, text, *_ in said_by_script if isinstance(text, str)}
    assert catalogue_path(PACKAGE, "ru").exists()
    said = {text for text in texts_of(PACKAGE) if isinstance(text, str)} | shown
    words = page_words("ru")
    assert said - words.keys() == set()
    assert words.keys() - said == set()
    assert [text for text, translation in words.items() if not translation] == []


@contextmanager
def started(home: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.sandbox.telegram", "--port", str(port)],
        cwd=REPOSITORY,
        env={**os.environ, "KOPILKA_HOME": str(home), "KOPILKA_LANG": "en"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def once_it_answers(url: str) -> Iterator[httpx.Client]:
    def is_up() -> bool:
        with suppress(httpx.TransportError):
            return client.get("/livez").is_success
        return False

    with httpx.Client(base_url=url, trust_env=False) as client:
        wait_until(is_up, 60)
        yield client


def test_the_process_serves_its_page_keeps_chats_over_a_kill_and_ends_at_once_when_told(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with started(tmp_path, port) as process, once_it_answers(url) as client:
        assert '<script type="module" src="/chat.js">' in client.get("/").text
        assert client.get("/chat.js").headers["content-type"].startswith("text/javascript")
        assert client.get("/chat.css").status_code == 200
        person = client.post("/sandbox/persons", json={"first_name": "Anna", "phone": "+79161234567"}).json()
        client.post(f"/sandbox/persons/{person['id']}/text", json={"text": "/start"})
        process.kill()
    with started(tmp_path, port) as process, once_it_answers(url) as client:
        messages = client.get(f"/sandbox/persons/{person['id']}/messages").json()
        assert [message["text"] for message in messages] == ["/start"]
        with started(tmp_path / "other", port) as second:
            assert second.wait(30) == 1
            assert second.stdout is not None and f"port {port} is taken" in second.stdout.read()
        with client.stream("GET", "/events") as stream:
            next(stream.iter_lines())
            told_at = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            assert time.monotonic() - told_at < 5
