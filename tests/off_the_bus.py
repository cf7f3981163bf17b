"""A service without a bus: records as they come off a topic, and what a service says as it stands in the outbox."""

import itertools
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.envelope import Heard, Raw, decode, encode, unpack_headers
from chassis.ids import new_id
from contracts.records import BY_TYPE, Record

UNLIMITED = 1 << 30
_offsets = itertools.count(1)


def came(record: Record, time: datetime, *, event_id: UUID | None = None, traceparent: str | None = None) -> Heard:
    """The record as a worker hands it to the delivery, through its bytes; an event of its own where none is named."""
    headers, value = encode(record, event_id=event_id or new_id(), source="/test", time=time, traceparent=traceparent)
    return _understood(Raw(record.topic, 0, next(_offsets), 0, record.key.encode(), value, headers))


def said(row: Any) -> Record:
    """What a row of the outbox says."""
    return _understood(Raw(row.topic, 0, 0, 0, row.key, row.value, unpack_headers(row.headers))).record


def _understood(raw: Raw) -> Heard:
    heard = decode(raw, BY_TYPE, value_max_bytes=UNLIMITED)
    assert heard is not None
    return heard
