"""Records as they come off the bus, good and bad, for the tests of the chassis."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from chassis.envelope import Heard, Raw, decode, encode
from chassis.ids import new_id
from contracts.purchases import PurchaseCancelled
from contracts.records import Record

NOW = datetime(2025, 11, 2, 12, 4, 5, tzinfo=UTC)
KNOWN: dict[str, type[Record]] = {PurchaseCancelled.type: PurchaseCancelled}
VALUE_MAX_BYTES = 256 * 1024


def cancelled(receipt_id: str | None = None, *, card_number: str = "29000000") -> PurchaseCancelled:
    return PurchaseCancelled(
        card_number=card_number,
        receipt_id=receipt_id or uuid.uuid4().hex,
        store_id="367",
        terminal_id="367-04",
        cancelled_at=NOW,
    )


def raw_of(record: Record, *, event_id: UUID | None = None, offset: int = 0, **others: Any) -> Raw:
    """The record as it would come off its topic."""
    headers, value = encode(record, event_id=event_id or new_id(), source="/tills/367-04", time=NOW, traceparent=None)
    raw = Raw(record.topic, 0, offset, 1_762_085_045_000, record.key.encode(), value, headers)
    return replace(raw, **others)


def heard(record: Record, *, event_id: UUID | None = None, offset: int = 0, source: str = "/tills/367-04") -> Heard:
    """The record as a handler's delivery gets it."""
    raw = with_header(raw_of(record, event_id=event_id, offset=offset), "ce_source", source.encode())
    found = decode(raw, {record.type: type(record)}, value_max_bytes=VALUE_MAX_BYTES)
    assert found is not None
    return found


def with_header(raw: Raw, name: str, value: bytes | None) -> Raw:
    """The same record with another value of that header."""
    return replace(raw, headers=tuple((each, value if each == name else old) for each, old in raw.headers))


def without_header(raw: Raw, name: str) -> Raw:
    return replace(raw, headers=tuple(each for each in raw.headers if each[0] != name))
