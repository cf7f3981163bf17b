"""The tills as a program: on the real Kafka, killed and started again, with the customers' API there or away."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po

from chassis.envelope import Raw
from chassis.languages import catalogue_path
from chassis.provisioning import provision
from contracts.topics import TOPICS
from deploy.sandbox.tills.afterwards import Shares
from deploy.sandbox.tills.happenings import happenings
from deploy.sandbox.tills.households import card_number, is_chosen, person
from deploy.sandbox.tills.words import PACKAGE
from services.customers.__main__ import service as customers
from tests.harness import House, ends, records, until
from tests.infra import Kafka, Postgres
from tests.telegram_sandbox import telegram_sandbox
from tests.texts import texts_of

PURCHASES = "pos.purchases"
NOBODY = "9"
"""A port that nobody answers on."""
TODAY = f"{datetime.now(UTC):%Y-%m-%d}"
EARLIEST = "2026-01-05"


class Tills:
    """Runs `python -m deploy.sandbox.tills` on a home of its own."""

    def __init__(self, kafka: Kafka, home: Path, begins: Any) -> None:
        self.kafka = kafka
        self.home = home
        self.begins = begins
        self.ports = {"KOPILKA_CUSTOMERS_PORT": NOBODY, "KOPILKA_CHAT_PORT": NOBODY}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KOPILKA_")}
        where = {"KOPILKA_KAFKA": self.kafka.bootstrap, "KOPILKA_HOME": str(self.home), "KOPILKA_LANG": "en"}
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.sandbox.tills", *arguments],
            env=inherited | where | self.ports | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        told, _ = process.communicate(timeout=60)
        assert process.returncode == 0, told
        return told

    async def published(self) -> list[Raw]:
        return await records(self.kafka, PURCHASES, self.begins)

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.home / "sandbox" / "tills.status.json").read_text())
        return told


@pytest.fixture
async def tills(kafka: Kafka, tmp_path: Path) -> AsyncIterator[Tills]:
    await provision(kafka.bootstrap, TOPICS.values(), replication=1)
    running = Tills(kafka, tmp_path, await ends(kafka, [PURCHASES]))
    yield running
    for process in running.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def headers(raw: Raw) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in raw.headers}


def baskets_of(published: list[Raw]) -> set[str]:
    return {json.loads(raw.value or b"")["receipt_id"].rsplit("-", 1)[1] for raw in published}


def first_baskets(count: int) -> set[str]:
    return {str(each.basket.basket_id) for each in islice(happenings(1, Shares()), count)}


async def test_receipts_are_published_as_cloud_events_dated_now(tills: Tills) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    tills.run("--limit", "20", "--rate", "100", "--start", TODAY, "--speed", "1000000")
    published = await tills.published()
    assert len(published) == 20
    for raw in published:
        told = headers(raw)
        assert told["ce_specversion"] == "1.0"
        assert told["content-type"] == "application/json"
        assert told["ce_type"].startswith("pos.purchase_")
        assert told["traceparent"].startswith("00-")
        assert datetime.fromisoformat(told["ce_time"]) <= datetime.now(UTC)
    assert max(datetime.fromisoformat(headers(raw)["ce_time"]) for raw in published) >= before


async def test_a_second_run_goes_on_where_the_first_one_stopped(tills: Tills) -> None:
    tills.run("--limit", "30", "--start", EARLIEST)
    told = tills.run("--limit", "50")
    assert "going on with the run" in told
    published = await tills.published()
    assert len({headers(raw)["ce_id"] for raw in published}) == len(published) == 80
    assert baskets_of(published) == first_baskets(80)
    assert tills.status()["published"] == 80


async def test_the_history_is_dated_before_the_run_by_the_calendar_and_then_it_is_now(tills: Tills) -> None:
    tills.run("--limit", "100", "--rate", "1000")
    dates = [datetime.fromisoformat(headers(raw)["ce_time"]) for raw in await tills.published()]
    spread = max(dates) - min(dates)
    ago = datetime.now(UTC) - min(dates)
    assert spread.total_seconds() > 6 * 3600
    assert 27 < ago.total_seconds() / 86400 < 29


async def test_killed_at_any_moment_it_publishes_each_receipt_and_those_twice_alike(tills: Tills) -> None:
    chance = random.Random(20261122)
    wanted = 0
    for _ in range(2):
        process = tills.start("--rate", "400", "--start", TODAY)
        wanted += chance.randint(20, 300)
        await more_are_published(tills, wanted)
        process.send_signal(signal.SIGKILL)
        process.wait()
    tills.run("--limit", "10")
    published = await tills.published()
    distinct = {headers(raw)["ce_id"]: (raw.key, raw.value, raw.headers) for raw in published}
    for raw in published:
        assert (raw.key, raw.value, raw.headers) == distinct[headers(raw)["ce_id"]]
    assert baskets_of(published) == first_baskets(len(distinct))


async def more_are_published(tills: Tills, count: int) -> None:
    async def more() -> bool:
        at = await ends(tills.kafka, [PURCHASES])
        return bool(sum(at.values()) - sum(tills.begins.values()) > count)

    await until(more, what=f"more than {count} records", every_s=0.1, within_s=60)


async def test_told_to_stop_it_stops_at_once_and_cleanly(tills: Tills) -> None:
    process = tills.start("--rate", "1", "--start", TODAY)
    await more_are_published(tills, 0)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=5)
    assert process.returncode == 0, told
    assert "published" in told.splitlines()[-1]
    assert "Traceback" not in told


async def test_without_kafka_it_waits_and_still_stops_at_once(tills: Tills) -> None:
    process = tills.start(KOPILKA_KAFKA=f"127.0.0.1:{NOBODY}")
    assert process.stdout is not None
    assert "0 published" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=8)
    assert process.returncode == 0, told


async def test_two_programs_do_not_publish_one_run(tills: Tills) -> None:
    tills.start("--rate", "1", "--start", TODAY)
    await more_are_published(tills, 0)
    second = tills.start("--limit", "1")
    told, _ = second.communicate(timeout=30)
    assert second.returncode == 1
    assert told.startswith("tills: they run already in")


def test_a_start_in_the_future_is_refused(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "deploy.sandbox.tills", "--start", "2999-01-01"],
        env=os.environ | {"KOPILKA_HOME": str(tmp_path), "KOPILKA_LANG": "ru"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert refused.stderr == "tills: --start 2999-01-01 в будущем, а чеков из будущего не бывает\n"


async def test_households_are_registered_when_the_api_comes_and_some_join_telegram(
    tills: Tills, kafka: Kafka, postgres: Postgres, tmp_path: Path
) -> None:
    bought = {each.basket.household for each in islice(happenings(1, Shares()), 60)}
    chosen = {household for household in bought if is_chosen(household, 0.5)}
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    async with House.built(customers, kafka, postgres) as house, telegram_sandbox(tmp_path / "telegram") as telegram:
        tills.ports = {"KOPILKA_CUSTOMERS_PORT": str(port), "KOPILKA_CHAT_PORT": telegram.url.rsplit(":", 1)[1]}
        tills.start("--rate", "20", "--start", TODAY, "--telegram", "0.5")
        await more_are_published(tills, 60)
        assert tills.status()["registered"] == 0
        instance = house.start(http_port=port)
        cards = sorted({card_number(household) for household in bought})
        await until(lambda: registered(house, cards), what="all are registered", every_s=0.2, within_s=60)
        assert instance.runs
        persons = {person(household).phone for household in chosen}
        await until(lambda: in_telegram(telegram, persons), what="the chosen are in Telegram", within_s=60)
        for chat in telegram.sandbox.world.chats.values():
            assert chat.person.phone in persons or chat.person.phone not in {person(each).phone for each in bought}
        assert "customers" not in (tills.status()["trouble"] or "")


async def registered(house: House, cards: list[str]) -> bool:
    ((found,),) = await house.rows("SELECT count(*) FROM cards WHERE number = ANY ($1::text[])", cards)
    return bool(found == len(cards))


async def in_telegram(telegram: Any, phones: set[str]) -> bool:
    """They started the bot and shared their own contact."""
    chats = {chat.person.phone: chat for chat in telegram.sandbox.world.chats.values()}
    return all(
        phone in chats
        and chats[phone].started
        and any(getattr(message, "contact", None) for message in chats[phone].messages.values())
        for phone in phones
    )


def test_every_text_is_translated_and_no_translation_is_left_over() -> None:
    with catalogue_path(PACKAGE, "ru").open("rb") as source:
        catalogue = read_po(source, locale="ru", abort_invalid=True)
    assert {message.id for message in catalogue if message.id} == texts_of(PACKAGE)
    assert all(message.string for message in catalogue)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("KOPILKA_LANG", "en")
    yield
