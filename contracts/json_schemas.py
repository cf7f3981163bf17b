"""JSON Schemas of the records: what a reader accepts, each field with its meaning, unit and example."""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any, Final

from pydantic.fields import FieldInfo

import contracts
from contracts.examples import EXAMPLES
from contracts.fields import Means
from contracts.records import BY_TYPE, PARTS, Record, Tombstone

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def all_records() -> dict[str, type[Record]]:
    """Every record that the contracts declare, by its CloudEvents type, sorted."""
    for module in pkgutil.iter_modules(contracts.__path__):
        importlib.import_module(f"contracts.{module.name}")
    return dict(sorted(BY_TYPE.items()))


def json_schema(record: type[Record]) -> Schema:
    """The JSON Schema of the record's value. Unknown fields are allowed: readers ignore them."""
    head: Schema = {
        "$schema": DIALECT,
        "$id": f"urn:kopilka:schema:{record.type}",
        "title": record.__name__,
        "description": inspect.cleandoc(record.__doc__ or ""),
        "x-topic": record.topic,
    }
    if issubclass(record, Tombstone):
        return head | {"type": "null"}
    schema = record.model_json_schema()
    for name, definition in schema.get("$defs", {}).items():
        _tell_meanings(definition, PARTS[name])
    _tell_meanings(schema, record.model_fields)
    return head | schema | {"description": head["description"], "examples": [EXAMPLES[record.type]]}


def _tell_meanings(schema: Schema, fields: Mapping[str, FieldInfo]) -> None:
    """Give each field one description (what it is there for, then unit and format) and its examples."""
    for name, field in fields.items():
        described = schema["properties"][name]
        described.pop("title", None)
        for branch in described.get("anyOf", ()):
            if "examples" in branch:
                described.setdefault("examples", branch.pop("examples"))
        meanings = [described.pop("description", None), *_means_of(field)]
        meanings += [branch.pop("description", None) for branch in described.get("anyOf", ())]
        told = " ".join(dict.fromkeys(meaning for meaning in meanings if meaning))
        schema["properties"][name] = {"description": told, **described} if told else described


def _means_of(field: FieldInfo) -> list[str]:
    return [each.text for each in field.metadata if isinstance(each, Means)]
