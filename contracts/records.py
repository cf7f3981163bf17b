"""The three kinds of record on the bus, and the register of all of them by their CloudEvents type."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self, TypeVar, dataclass_transform

from pydantic import BaseModel, ConfigDict
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

TYPE_PATTERN = re.compile(r"^([a-z]+\.[a-z_]+)\.v([1-9][0-9]*)$")


READ_AS: Final = ConfigDict(extra="ignore", strict=False, use_attribute_docstrings=True)
"""Unknown fields are ignored: a newer writer of the same version may add optional ones."""
PARTS: dict[str, Mapping[str, FieldInfo]] = {}
"""The fields of each part, by the name of its class."""
AnyPart = TypeVar("AnyPart")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def part(cls: type[AnyPart]) -> type[AnyPart]:
    """A piece of a record. A receipt has many of them: with slots they are made in less time than models are."""
    made = dataclass(slots=True, frozen=True, kw_only=True, config=READ_AS)(cls)
    PARTS[made.__name__] = made.__pydantic_fields__
    return made  # type: ignore[return-value]


class Record(BaseModel):
    """One record: JSON value of `topic`, its CloudEvents `type`, keyed by `key`."""

    model_config = READ_AS | ConfigDict(frozen=True)

    type: ClassVar[str]
    topic: ClassVar[str]

    def __init_subclass__(cls, *, type: str | None = None, topic: str | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if type is None or topic is None:
            return
        if not TYPE_PATTERN.match(type):
            raise TypeError(f"{cls.__name__}: {type!r} is not <owner>.<name>.v<N>")
        if type in BY_TYPE:
            raise TypeError(f"{cls.__name__}: {type} is already {BY_TYPE[type].__name__}")
        cls.type = type
        cls.topic = topic
        BY_TYPE[type] = cls

    @property
    def key(self) -> str:
        """What the record is keyed by; records with one key keep their order."""
        raise NotImplementedError

    def value(self) -> bytes | None:
        """The JSON that goes on the bus; fields without a value are left out."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class Event(Record):
    """Something that happened; `<owner>.<past_tense>.v<N>`."""


class Command(Record):
    """Something that is asked for; `<owner>.<imperative>.v<N>`."""


class State(Record):
    """The newest state of a key in a compacted topic."""


class Tombstone(Record):
    """A null value in a compacted topic: the key's state is gone. Built from the key alone."""

    def value(self) -> None:
        return None

    @classmethod
    def of_key(cls, key: str) -> Self:
        """The tombstone for `key`; raises pydantic's ValidationError where the key is not of the field's type."""
        (field,) = cls.model_fields
        return cls.model_validate({field: key})


BY_TYPE: dict[str, type[Record]] = {}


def family(record_type: str) -> str:
    """`pos.purchase_completed.v1` -> `pos.purchase_completed`; raises ValueError where it is no record type."""
    match = TYPE_PATTERN.match(record_type)
    if match is None:
        raise ValueError(f"{record_type!r} is not <owner>.<name>.v<N>")
    return match.group(1)
