"""The AsyncAPI 3 document: every topic, what is on it, who says it and who hears it.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

import inspect
from collections.abc import Iterator
from typing import Any, Final

from contracts.examples import EXAMPLES
from contracts.json_schemas import all_records
from contracts.parties import HEARS, PARTIES, PASSES_ON, SAYS
from contracts.records import Record, Tombstone
from contracts.topics import TOPICS, Topic, dead_letter_topic

BINDING: Final = {"bindingVersion": "0.5.0"}
ABOUT: Final = (
    "Kopilka's services speak over these Kafka topics. A record is a CloudEvent 1.0 in binary mode: its attributes are "
    "headers, its value is JSON. The version is a part of the type; within a version only compatible changes are made, "
    "and a reader ignores fields that it does not know. Our services write in Kafka transactions: read with "
    "isolation.level=read_committed."
)
Json = dict[str, Any]


def document() -> Json:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Kopilka",
            "version": "1.0.0",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": name, "description": about} for name, about in PARTIES.items()],
        },
        "defaultContentType": "application/json",
        "channels": dict(_channels()),
        "operations": dict(_operations()),
        "components": {
            "messages": {record.__name__: _message(record) for record in all_records().values()}
            | {DEAD: _dead_letter()},
            "messageTraits": {"CloudEvent": {"headers": _cloud_event()}},
        },
    }


def _channels() -> Iterator[tuple[str, Json]]:
    for topic in TOPICS.values():
        names = [record.__name__ for record in all_records().values() if record.topic == topic.name]
        channel: Json = {
            "address": topic.name,
            "description": topic.about,
            "tags": [{"name": topic.writer}],
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            "bindings": {"kafka": _kafka(topic)},
        }
        yield topic.name, channel | _facts(topic)
    yield DEAD_CHANNEL, _dead_letters()


def _facts(topic: Topic) -> Json:
    """What AsyncAPI has no word for. Retention is in days; a compacted topic keeps each key's newest value for ever."""
    return {
        "x-writer": topic.writer,
        "x-key": topic.key,
        "x-retention-days": None if topic.retention_ms is None else topic.retention_ms / DAY_MS,
        "x-compacted": topic.compacted,
        "x-personal-data": topic.personal,
    }


DAY_MS: Final = 24 * 60 * 60 * 1000


def _kafka(topic: Topic) -> Json:
    lists = {"cleanup.policy"}
    numbers = {"retention.ms", "delete.retention.ms", "max.compaction.lag.ms"}
    config = {
        name: value.split(",") if name in lists else int(value) if name in numbers else float(value)
        for name, value in topic.config.items()
    }
    return {"topic": topic.name, "partitions": topic.partitions, "topicConfiguration": config, **BINDING}


def _operations() -> Iterator[tuple[str, Json]]:
    for action, verb, table in (("send", "says", SAYS), ("send", "passes on", PASSES_ON), ("receive", "hears", HEARS)):
        for party, records in table.items():
            for topic in dict.fromkeys(record.topic for record in records):
                names = [record.__name__ for record in records if record.topic == topic]
                yield (
                    f"{party}.{verb.replace(' ', '_')}.{topic}",
                    {
                        "action": action,
                        "channel": {"$ref": f"#/channels/{topic}"},
                        "summary": f"{party} {verb} {', '.join(names)}",
                        "tags": [{"name": party}],
                        "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in names],
                    },
                )


def _message(record: type[Record]) -> Json:
    payload: Json = {"$ref": f"./schemas/{record.type}.json"}
    value = None if issubclass(record, Tombstone) else EXAMPLES[record.type]
    return {
        "name": record.type,
        "title": record.__name__,
        "summary": (record.__doc__ or "").splitlines()[0],
        "description": inspect.cleandoc(record.__doc__ or ""),
        "contentType": "application/json",
        "headers": {"type": "object", "properties": {"ce_type": {"const": record.type}}},
        "payload": payload,
        "traits": [{"$ref": "#/components/messageTraits/CloudEvent"}],
        "bindings": {"kafka": {"key": _key(record), **BINDING}},
        "examples": [{"name": record.__name__, "headers": example_headers(record), "payload": value}],
    }


def _key(record: type[Record]) -> Json:
    example = record.model_validate(EXAMPLES[record.type]).key
    return {"type": "string", "description": f"UTF-8: {TOPICS[record.topic].key}.", "examples": [example]}


def example_headers(record: type[Record]) -> Json:
    """The headers of the record's example."""
    writer = next(party for party, records in SAYS.items() if record in records)
    return {
        "ce_specversion": "1.0",
        "ce_id": "019a9f0e-5b21-7c44-8d11-0f2e3d4c5b6a",
        "ce_source": "/tills/367-04" if writer == "tills" else f"/{writer}",
        "ce_type": record.type,
        "ce_time": "2025-11-02T12:04:05.123Z",
        "content-type": "application/json",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }


def _cloud_event() -> Json:
    """The headers of every record: https://github.com/cloudevents/spec/blob/v1.0.2 (Kafka binding, section 3.2)."""

    def text(description: str, **more: Any) -> Json:
        return {"type": "string", "description": description, **more}

    return {
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"],
        "properties": {
            "ce_specversion": text("CloudEvents version.", const="1.0"),
            "ce_id": text(
                "The event's id, a UUID (version 7 is best). The same at every try to publish it; "
                "a service handles an id of a source once.",
                format="uuid",
            ),
            "ce_source": text("Who says it: a till, a service. Without personal data.", minLength=1, maxLength=200),
            "ce_type": text("The record's type with its version: <owner>.<name>.v<N>."),
            "ce_time": text("When it happened, RFC 3339 with an offset.", format="date-time"),
            "content-type": text("application/json, parameters allowed.", pattern="^application/json"),
            "traceparent": text(
                "W3C Trace Context: the trace that the record belongs to. Optional.", minLength=55, maxLength=55
            ),
        },
    }


DEAD: Final = "DeadLetter"
DEAD_CHANNEL: Final = "deadLetters"


def _dead_letters() -> Json:
    heard = {record.topic for records in HEARS.values() for record in records}
    sample = dead_letter_topic("pos.purchases", "loyalty")
    return {
        "address": "{topic}.{group}.dlq",
        "description": "What a service could not process of a topic: original bytes, key and headers, plus the reason. "
        "One topic for each pair of a service and a topic that it hears.",
        "parameters": {
            "topic": {"description": "The topic that it came from.", "enum": sorted(heard)},
            "group": {"description": "The service that could not process it.", "enum": sorted(HEARS)},
        },
        "messages": {DEAD: {"$ref": f"#/components/messages/{DEAD}"}},
        "bindings": {"kafka": {"partitions": sample.partitions, **BINDING}},
        "x-key": "as the original",
        "x-compacted": False,
    }


def _dead_letter() -> Json:
    facts = {
        "dlq_reason": "Why, a stable word: missing_header, invalid, receipt_conflict …",
        "dlq_detail": "The field and the mend, in words, without values.",
        "dlq_group": "The service that could not process it.",
        "dlq_topic": "The topic that it came from.",
        "dlq_partition": "Its partition there.",
        "dlq_offset": "Its offset there.",
    }
    return {
        "name": DEAD,
        "title": DEAD,
        "summary": "A record that could not be processed, as it was.",
        "headers": {
            "type": "object",
            "description": "The original's headers, and these.",
            "required": list(facts),
            "properties": {name: {"type": "string", "description": about} for name, about in facts.items()},
        },
        "payload": {"description": "The original's bytes; nothing can be said of them."},
    }
