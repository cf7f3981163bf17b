import asyncio
import dataclasses
import io
import json
import re
import uuid

import pytest
from aiokafka import AIOKafkaProducer
from rich.console import Console

from chassis.provisioning import provision
from chassis.topic_reading import TopicReader
from contracts.topics import TOPICS, dead_letter_topic
from deploy import topics
from deploy.trouble import Trouble
from tests.infra import Kafka

CONTACTS = TOPICS["customers.contacts"]
PURCHASES = TOPICS["pos.purchases"]
LETTERS = dead_letter_topic("customers.contacts", "messaging")


@pytest.fixture
async def provisioned(kafka: Kafka) -> str:
    wanted = [PURCHASES, CONTACTS, LETTERS]
    await provision(kafka.bootstrap, wanted, replication=1)
    async with asyncio.timeout(20), TopicReader(kafka.bootstrap) as bus:
        while not {topic.name for topic in wanted} <= set(await bus.names()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return kafka.bootstrap


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def shown(console: Console) -> list[str]:
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert isinstance(lines, list)
    return lines


async def publish(bootstrap: str, topic: str, value: bytes | None, *, key: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(
            topic, value, key=key.encode(), headers=[("ce_type", b"customers.contacts_changed.v1")]
        )


async def tail(bootstrap: str, console: Console, name: str, **wanted: object) -> None:
    asked: dict[str, object] = {
        "last": 10,
        "from_beginning": True,
        "follow": False,
        "key": None,
        "of_type": None,
        "personal": False,
        "as_json": False,
    }
    await topics.tail(bootstrap, console, name, **(asked | wanted))  # type: ignore[arg-type]


async def test_every_topic_is_listed_with_its_writer_key_and_retention(provisioned: str, console: Console) -> None:
    await topics.show_topics(provisioned, console, everything=True)
    (contacts,) = [line for line in shown(console) if line.startswith("customers.contacts ")]
    assert "customers" in contacts
    assert "newest of each key" in contacts
    (letters,) = [line for line in shown(console) if line.startswith("customers.contacts.messaging.dlq")]
    assert "3 days" in letters
    assert "messaging " in contacts  # the lag of the group that hears it


async def test_what_a_topic_with_personal_data_says_is_shown_on_demand_only(provisioned: str, console: Console) -> None:
    key = uuid.uuid4().hex
    await publish(provisioned, CONTACTS.name, b'{"phone": "+79161234567"}', key=key)
    await tail(provisioned, console, CONTACTS.name, key=key)
    (hidden,) = shown(console)
    assert key in hidden
    assert "79161234567" not in hidden
    await tail(provisioned, console, CONTACTS.name, key=key, personal=True)
    assert "+79161234567" in shown(console)[-1]


async def test_what_a_topic_with_personal_data_could_not_be_read_of_is_personal_too(
    provisioned: str, console: Console
) -> None:
    key = uuid.uuid4().hex
    await publish(provisioned, LETTERS.name, b"+79161234567", key=key)
    await tail(provisioned, console, LETTERS.name, key=key)
    assert "79161234567" not in shown(console)[-1]


async def test_programs_get_a_json_object_a_line(provisioned: str, console: Console) -> None:
    key = uuid.uuid4().hex
    await publish(provisioned, PURCHASES.name, b'{"total_minor": 114000}', key=key)
    await publish(provisioned, PURCHASES.name, b"\xff[broken]", key=key)
    await publish(provisioned, PURCHASES.name, None, key=key)
    await tail(provisioned, console, PURCHASES.name, key=key, as_json=True)
    told = [json.loads(line) for line in shown(console)]
    assert [each["value"] for each in told] == [{"total_minor": 114000}, "\ufffd[broken]", None]
    assert told[0]["type"] == "customers.contacts_changed.v1"
    assert told[0]["headers"] == {"ce_type": "customers.contacts_changed.v1"}


async def test_records_are_narrowed_by_the_beginning_of_their_type(provisioned: str, console: Console) -> None:
    key = uuid.uuid4().hex
    await publish(provisioned, PURCHASES.name, b"{}", key=key)
    await tail(provisioned, console, PURCHASES.name, key=key, of_type="pos.")
    assert shown(console) == []
    await tail(provisioned, console, PURCHASES.name, key=key, of_type="customers.contacts")
    assert len(shown(console)) == 1


async def test_square_brackets_in_a_record_are_shown_as_they_are(provisioned: str, console: Console) -> None:
    key = uuid.uuid4().hex
    await publish(provisioned, PURCHASES.name, b'"[red]not a colour[/red] [/]"', key=key)
    await tail(provisioned, console, PURCHASES.name, key=key)
    assert "[red]not a colour[/red] [/]" in shown(console)[-1]


async def test_a_misspelt_topic_is_told_with_those_that_are_there(provisioned: str, console: Console) -> None:
    with pytest.raises(Trouble, match=r"pos\.purchsaes; there are:.*pos\.purchases"):
        await tail(provisioned, console, "pos.purchsaes")


async def test_a_kafka_that_does_not_answer_is_told(console: Console) -> None:
    for looking in (topics.show_topics("127.0.0.1:1", console, everything=False), tail("127.0.0.1:1", console, "x")):
        with pytest.raises(Trouble, match=r"Kafka does not answer at 127\.0\.0\.1:1 .*; is it running\?"):
            await looking


async def test_empty_dead_letter_topics_are_left_out_of_the_list(provisioned: str, console: Console) -> None:
    await topics.show_topics(provisioned, console, everything=False)
    assert not [line for line in shown(console) if line.startswith("pos.purchases.loyalty.dlq")]


async def test_a_list_of_topics_fits_a_narrow_terminal_even_with_a_long_name_in_it(provisioned: str) -> None:
    long_name = f"a-topic-of-someone-else.with-a-name-as-long-as-this.{uuid.uuid4().hex}"
    await provision(provisioned, [dataclasses.replace(PURCHASES, name=long_name)], replication=1)
    async with asyncio.timeout(20), TopicReader(provisioned) as bus:
        while long_name not in await bus.names():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    narrow = Console(file=io.StringIO(), width=80)
    await topics.show_topics(provisioned, narrow, everything=False)
    (contacts,) = [line for line in shown(narrow) if "customers.contacts " in line]
    assert "newest of" in contacts
    assert re.search(r"messaging [\d,]+$", contacts)
