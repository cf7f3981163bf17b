"""The AsyncAPI document: whole, and without a loose end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import contracts
from contracts.asyncapi import DEAD_CHANNEL, document
from contracts.json_schemas import all_records
from contracts.parties import HEARS, PASSES_ON, SAYS
from contracts.topics import TOPICS

DOCUMENT = document()
FOLDER = Path(contracts.__file__).parent


def test_it_is_an_asyncapi_3_document() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version", "description", "license"} <= DOCUMENT["info"].keys()
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert operation["channel"]["$ref"].startswith("#/channels/")


def test_every_reference_leads_somewhere() -> None:
    found = list(references(DOCUMENT))
    assert len(found) > 100
    for reference in found:
        file, _, pointer = reference.partition("#/")
        if file:
            assert (FOLDER / file).exists(), reference
        else:
            node: Any = DOCUMENT
            for part in pointer.split("/"):
                node = node[part.replace("~1", "/").replace("~0", "~")]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS.keys())
def test_every_topic_is_a_channel_that_says_who_writes_how_it_is_keyed_and_kept(topic: Any) -> None:
    channel = DOCUMENT["channels"][topic.name]
    assert channel["address"] == topic.name
    assert (channel["x-writer"], channel["x-key"]) == (topic.writer, topic.key)
    assert (channel["x-compacted"], channel["x-personal-data"]) == (topic.compacted, topic.personal)
    kafka = channel["bindings"]["kafka"]
    assert kafka["partitions"] == topic.partitions
    assert kafka["topicConfiguration"]["cleanup.policy"] == ["compact" if topic.compacted else "delete"]
    assert kafka["topicConfiguration"].get("retention.ms") == topic.retention_ms


def test_there_is_no_channel_besides_the_topics_and_the_dead_letters() -> None:
    assert DOCUMENT["channels"].keys() == TOPICS.keys() | {DEAD_CHANNEL}


def test_every_record_is_on_the_channel_of_its_topic_alone() -> None:
    for record in all_records().values():
        on = [name for name, channel in DOCUMENT["channels"].items() if record.__name__ in channel["messages"]]
        assert on == [record.topic]


def test_the_operations_are_who_says_and_who_hears_what() -> None:
    told = {
        (party, action, record.__name__)
        for action, table in (("send", SAYS), ("send", PASSES_ON), ("receive", HEARS))
        for party, records in table.items()
        for record in records
    }
    found = {
        (operation["tags"][0]["name"], operation["action"], message["$ref"].rsplit("/", 1)[1])
        for operation in DOCUMENT["operations"].values()
        for message in operation["messages"]
    }
    assert found == told


@pytest.mark.parametrize("record", all_records().values(), ids=all_records().keys())
def test_every_message_has_headers_payload_key_and_an_example(record: Any) -> None:
    message = DOCUMENT["components"]["messages"][record.__name__]
    assert message["name"] == record.type
    assert message["headers"]["properties"]["ce_type"] == {"const": record.type}
    assert message["payload"] == {"$ref": f"./schemas/{record.type}.json"}
    assert message["bindings"]["kafka"]["key"]["examples"]
    headers = message["examples"][0]["headers"]
    trait = DOCUMENT["components"]["messageTraits"]["CloudEvent"]["headers"]
    assert set(trait["required"]) <= headers.keys() <= trait["properties"].keys()
