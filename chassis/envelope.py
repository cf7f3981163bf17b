"""CloudEvents 1.0 in Kafka's binary mode: headers carry the attributes, the value is the JSON of the data.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md (section 3.2)
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import ormsgpack
from pydantic import ValidationError

from chassis.ids import read_id
from contracts.records import TYPE_PATTERN, Record, Tombstone, family

Headers = tuple[tuple[str, bytes | None], ...]
"""Kafka's headers: a name may come twice, and a value may be null."""
CONTENT_TYPE: Final = b"application/json"
TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
RECORD_MAX_BYTES: Final = 1_000_000
"""A little less than a broker takes by default (`message.max.bytes`), for headers count too."""
SOURCE_MAX_CHARS: Final = 200
DETAIL_MAX_CHARS: Final = 1000


@dataclass(slots=True)
class Raw:
    """A record as it came off the bus."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True, eq=False)
class Heard:
    """A record that was understood: its CloudEvents attributes and the contract's model."""

    raw: Raw
    event_id: UUID
    source: str
    time: datetime
    traceparent: str | None
    content_hash: int
    """Signed 64-bit hash of the value: an id that comes back with other content is told from a redelivery."""
    record: Record


class Unprocessable(Exception):
    """Why a record goes to the dead letters: a stable `reason`, and a `detail` that names the field and the mend."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def decode(raw: Raw, known: Mapping[str, type[Record]], *, value_max_bytes: int) -> Heard | None:
    """Understand one record; None where its type is not heard here.

    Raises `Unprocessable` (missing_header, bad_header, unknown_version, wrong_topic, too_large, not_json, invalid).
    `known` maps the CloudEvents types that are heard to their models.
    """
    headers = dict(raw.headers)
    record_type = _text(headers, "ce_type")
    model = known.get(record_type)
    if model is None:
        _refuse_unknown_version(record_type, known)
        return None
    if model.topic != raw.topic:
        raise Unprocessable("wrong_topic", f"ce_type: {record_type} belongs to the topic {model.topic}")
    if headers.get("ce_specversion") != b"1.0":
        raise Unprocessable("bad_header", f"ce_specversion: must be 1.0, is {_text(headers, 'ce_specversion')!r}")
    if not (headers.get("content-type") or b"").startswith(CONTENT_TYPE):
        raise Unprocessable(
            "bad_header", f"content-type: must be application/json, is {_text(headers, 'content-type')!r}"
        )
    value = raw.value or b""
    return Heard(
        raw=raw,
        event_id=_event_id(headers),
        source=_source(headers),
        time=_time(headers),
        traceparent=_traceparent(headers),
        content_hash=content_hash(value),
        record=_model(model, raw, value, value_max_bytes),
    )


def encode(
    record: Record, *, event_id: UUID | str, source: str, time: datetime, traceparent: str | None
) -> tuple[Headers, bytes | None]:
    """Headers and value of a record that is to be published; the value of a tombstone is None."""
    headers = (*_attributes(record.type, source, time), ("ce_id", str(event_id).encode()))
    if traceparent is not None:
        headers += (("traceparent", traceparent.encode()),)
    return headers, record.value()


@lru_cache
def _attributes(record_type: str, source: str, time: datetime) -> Headers:
    """The headers that all records of a kind have in common that are said at one moment."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", source.encode()),
        ("ce_type", record_type.encode()),
        ("ce_time", time.isoformat().encode()),
        ("content-type", CONTENT_TYPE),
    )


def pack_headers(headers: Headers) -> bytes:
    """Headers for a `bytea` column: MessagePack, in which any bytes survive."""
    return ormsgpack.packb(headers)


def columns(raws: Sequence[Raw]) -> tuple[list[Any], ...]:
    """For `unnest`: their topics, partitions, offsets, timestamps, keys, headers (packed) and values."""
    return (
        [raw.topic for raw in raws],
        [raw.partition for raw in raws],
        [raw.offset for raw in raws],
        [raw.timestamp_ms for raw in raws],
        [raw.key for raw in raws],
        [pack_headers(raw.headers) for raw in raws],
        [raw.value for raw in raws],
    )


def unpack_headers(packed: bytes) -> Headers:
    """What `pack_headers` packed."""
    return tuple(map(tuple, ormsgpack.unpackb(packed)))


def content_hash(value: bytes) -> int:
    """A signed 64-bit hash of the bytes (BLAKE2b)."""
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "big", signed=True)


def _text(headers: Mapping[str, bytes | None], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise Unprocessable("missing_header", f"{name}: this header is needed")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Unprocessable("bad_header", f"{name}: is not UTF-8") from None


def _refuse_unknown_version(record_type: str, known: Mapping[str, type[Record]]) -> None:
    if not TYPE_PATTERN.match(record_type):
        raise Unprocessable("bad_header", f"ce_type: {record_type[:100]!r} is not <owner>.<name>.v<N>")
    versions = sorted(name for name in known if family(name) == family(record_type))
    if versions:
        raise Unprocessable("unknown_version", f"ce_type: {record_type} is not known here, only {', '.join(versions)}")


def _event_id(headers: Mapping[str, bytes | None]) -> UUID:
    text = _text(headers, "ce_id")
    try:
        return read_id(text)
    except ValueError:
        raise Unprocessable("bad_header", "ce_id: must be a UUID (version 7 is best)") from None


def _source(headers: Mapping[str, bytes | None]) -> str:
    source = _text(headers, "ce_source")
    if len(source) > SOURCE_MAX_CHARS or "\0" in source:
        raise Unprocessable("bad_header", f"ce_source: at most {SOURCE_MAX_CHARS} characters and no NUL")
    return source


def _time(headers: Mapping[str, bytes | None]) -> datetime:
    try:
        time = datetime.fromisoformat(_text(headers, "ce_time"))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise Unprocessable("bad_header", "ce_time: must be an RFC 3339 time with an offset")
    return time


def _traceparent(headers: Mapping[str, bytes | None]) -> str | None:
    """W3C Trace Context; a malformed one is no reason to lose a purchase and is left out."""
    value = headers.get("traceparent")
    return value.decode() if value is not None and TRACEPARENT.fullmatch(value) else None


def _model(model: type[Record], raw: Raw, value: bytes, value_max_bytes: int) -> Record:
    if issubclass(model, Tombstone):
        return _tombstone(model, raw)
    if not value:
        raise Unprocessable("invalid", "value: is empty")
    if len(value) > value_max_bytes:
        raise Unprocessable("too_large", f"value: {len(value)} bytes, at most {value_max_bytes} are taken")
    if b"\\u0000" in value:
        _refuse_nul(value)
    try:
        return model.__pydantic_validator__.validate_json(value)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise _invalid(error) from None


def _tombstone(model: type[Tombstone], raw: Raw) -> Record:
    if raw.value:
        raise Unprocessable("invalid", "value: a tombstone has a null value")
    try:
        return model.of_key((raw.key or b"").decode())
    except (ValidationError, UnicodeDecodeError):
        raise Unprocessable("invalid", "key: is not the key of this topic") from None


def _refuse_nul(value: bytes) -> None:
    """PostgreSQL cannot keep U+0000 in text, so that no service could store what it says."""
    try:
        text = json.dumps(json.loads(value), ensure_ascii=False)
    except (ValueError, RecursionError):
        return  # the contract's own parser says what is wrong with it
    if "\\u0000" in text.replace("\\\\", ""):
        raise Unprocessable("invalid", "value: contains the character NUL (\\u0000); leave it out")


def _invalid(error: ValidationError) -> Unprocessable:
    """The fields at fault and why, without the values, which may be personal."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    reason = "not_json" if faults[0]["type"] == "json_invalid" else "invalid"
    detail = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['msg']}" for fault in faults[:10])
    return Unprocessable(reason, detail[:DETAIL_MAX_CHARS])
