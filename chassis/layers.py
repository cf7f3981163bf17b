"""Splitting a batch with several types so that each handler gets many records and no key's order changes."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T")


def layers(records: Iterable[tuple[Hashable | None, str, T]]) -> list[tuple[str, list[T]]]:
    """Group `(key, type, record)` into calls `(type, records)`, to be made one after the other.

    Records of one key stay in their order across the calls; neighbours of one type share a call. A record without a
    key has no order to keep.
    """
    place: dict[Hashable, tuple[int, str]] = {}
    calls: dict[tuple[int, str], list[T]] = {}
    for key, record_type, record in records:
        if key is None:
            layer = 0
        else:
            layer, last_type = place.get(key, (0, record_type))
            if last_type != record_type:
                layer += 1
            place[key] = (layer, record_type)
        calls.setdefault((layer, record_type), []).append(record)
    return [(record_type, group) for (_, record_type), group in sorted(calls.items(), key=lambda call: call[0][0])]
