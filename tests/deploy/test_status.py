import io
import json
import uuid
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from rich.console import Console

from chassis.provisioning import provision
from contracts.topics import Topic
from deploy.display import PlainLines
from deploy.settings import SERVICES, RunSettings
from deploy.status import PartStatus, State, Status, Watch, topics_heard
from deploy.status_table import as_json, table
from tests.harness import commit_offsets, until
from tests.infra import Kafka, Postgres

READY = PartStatus("loyalty", State.READY, "http://127.0.0.1:8102", lag=12345, dead_letters=2)
DEAD = PartStatus("messaging", State.RESTARTING, "http://127.0.0.1:8103", note="ended with code -9")


def drawn(status: Status, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(status, hint="Ctrl-C stops everything."))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_the_table_shows_state_address_lag_and_dead_letters_of_each_part() -> None:
    lines = drawn(Status([READY, DEAD], purchases=1_234_567, published_per_s=5.04, credited_per_s=4.96)).splitlines()
    assert lines[1].split() == ["loyalty", "ready", "http://127.0.0.1:8102", "12", "345", "2"]
    assert lines[2].split() == ["messaging", "restarting", "http://127.0.0.1:8103"]
    assert "messaging: ended with code -9" in lines
    assert "Purchases: 1 234 567; 5.0/s published, 5.0/s credited" in lines


def test_a_long_note_does_not_squeeze_the_table_on_a_narrow_terminal() -> None:
    told = PartStatus("loyalty", State.RESTARTING, "http://127.0.0.1:8102", note="ended " * 30)
    assert "http://127.0.0.1:8102" in drawn(Status([told]), width=80)


def test_without_a_terminal_only_changes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainLines("Ctrl-C stops everything.") as lines:
        for state in (State.STARTING, State.STARTING, State.READY, State.READY, State.DOWN, State.READY):
            lines.show(Status([PartStatus("loyalty", state)]))
    assert capsys.readouterr().out.splitlines() == [
        "loyalty: starting",
        "loyalty: ready",
        "Ctrl-C stops everything.",
        "loyalty: down",
        "loyalty: ready",
    ]


def test_programs_get_json() -> None:
    told = json.loads(as_json(Status([READY, DEAD])))
    assert told["is_well"] is False
    assert told["parts"][0] == {
        "name": "loyalty",
        "state": "ready",
        "url": "http://127.0.0.1:8102",
        "lag": 12345,
        "dead_letters": 2,
        "note": "",
    }


def test_the_topics_that_a_group_hears_are_those_with_its_dead_letter_topic() -> None:
    names = ["pos.purchases", "pos.purchases.loyalty.dlq", "customers.cards.loyalty.dlq", "customers.cards.x.dlq"]
    assert topics_heard("loyalty", names) == ["pos.purchases", "customers.cards"]


@pytest.fixture
async def watch(kafka: Kafka, postgres: Postgres) -> AsyncIterator[Watch]:
    settings = RunSettings(
        kafka=kafka.bootstrap,
        database=postgres.dsn("postgres"),
        database_prefix="seen_",
        **{f"{name}_port": 1 for name in SERVICES},  # type: ignore[arg-type]
    )
    async with Watch(settings) as watch:
        yield watch


async def test_servers_are_seen_and_services_that_do_not_run_are_down(watch: Watch) -> None:
    status = await watch.look()
    states = {part.name: part.state for part in status.parts}
    assert states["kafka"] is State.READY
    assert states["postgres"] is State.READY
    assert states["loyalty"] is State.DOWN
    assert not status.is_well


async def lag_of_loyalty(watch: Watch) -> int:
    (loyalty,) = [part for part in (await watch.look()).parts if part.name == "loyalty"]
    assert loyalty.lag is not None
    return loyalty.lag


async def test_a_service_is_behind_by_what_waits_for_it_and_not_by_the_mark_of_a_transaction(
    kafka: Kafka, watch: Watch
) -> None:
    topic = f"seen.{uuid.uuid4().hex[:8]}"
    heard = [Topic(name, "tests", "none", "", partitions=1) for name in (topic, f"{topic}.loyalty.dlq")]
    await provision(kafka.bootstrap, heard, replication=1)
    before = await lag_of_loyalty(watch)

    async def something_waits() -> bool:
        return await lag_of_loyalty(watch) > before

    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic) as producer:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"{}")
        await until(something_waits, what="the purchase waits")
        await commit_offsets(kafka, "loyalty", {TopicPartition(topic, 0): 1})
        assert await lag_of_loyalty(watch) == before
        async with producer.transaction():
            await producer.send_and_wait(topic, b"{}")
        await until(something_waits, what="the next one waits")


async def test_looking_at_a_house_that_is_not_there_raises_nothing() -> None:
    settings = RunSettings(kafka="127.0.0.1:1", database="postgresql://kopilka@127.0.0.1:1/postgres")
    async with Watch(settings) as watch:
        status = await watch.look()
    assert {part.state for part in status.parts[:2]} == {State.DOWN}
    assert status.purchases is None
