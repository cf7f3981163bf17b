"""What may change within a version, as a law and case by case; and whether this tree changed more than that."""

import json
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from contracts.compatibility import NEW_READERS, OLD_READERS, incompatibilities
from contracts.generate import generated

ROOT = Path(__file__).resolve().parents[2]
Schema = dict[str, Any]

LINE = {
    "type": "object",
    "properties": {"line_no": {"type": "integer", "minimum": 1}, "category": {"type": "string", "maxLength": 100}},
    "required": ["line_no"],
}
RECEIPT: Schema = {
    "type": "object",
    "title": "Receipt",
    "x-topic": "pos.purchases",
    "$defs": {"Line": LINE},
    "properties": {
        "receipt_id": {"type": "string", "maxLength": 100, "description": "The receipt."},
        "state": {"enum": ["paid", "cancelled"]},
        "kind": {"const": "sale"},
        "phone": {"anyOf": [{"type": "string", "pattern": "^[0-9]+$"}, {"type": "null"}], "default": None},
        "discount": {"type": "integer", "minimum": 0, "maximum": 10, "default": 0},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}, "minItems": 1},
        "parameters": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    "required": ["receipt_id", "state", "lines"],
}


def changed(change: Callable[[Schema], object]) -> Schema:
    receipt = deepcopy(RECEIPT)
    change(receipt)
    return receipt


def fields(receipt: Schema) -> Schema:
    return receipt["properties"]  # type: ignore[no-any-return]


COMPATIBLE: dict[str, Callable[[Schema], object]] = {
    "nothing": lambda _: None,
    "other words": lambda r: (r.update(title="Bill"), fields(r)["state"].update(description="x", examples=["paid"])),
    "a new optional field": lambda r: fields(r).update(store_id={"type": "string"}),
    "a new optional field of a line": lambda r: r["$defs"]["Line"]["properties"].update(sku={"type": "string"}),
    "values in another order": lambda r: fields(r)["state"]["enum"].reverse(),
    "alternatives in another order": lambda r: fields(r)["phone"]["anyOf"].reverse(),
    "a definition of another name": lambda r: (
        r["$defs"].update(Position=r["$defs"].pop("Line")),
        fields(r)["lines"].update(items={"$ref": "#/$defs/Position"}),
    ),
    "an enum of one for a const": lambda r: fields(r).update(kind={"enum": ["sale"]}),
}
BREAKING: dict[str, tuple[Callable[[Schema], object], str]] = {
    "a field is gone": (lambda r: fields(r).pop("discount"), "discount: is gone"),
    "a needed field": (
        lambda r: (fields(r).update(store_id={"type": "string"}), r["required"].append("store_id")),
        f"store_id: is needed now; {NEW_READERS}",
    ),
    "a field that was optional is needed": (
        lambda r: r["required"].append("discount"),
        f"discount: is needed now; {NEW_READERS}",
    ),
    "a field that was needed is optional": (
        lambda r: r["required"].remove("state"),
        f"state: may be left out now; {OLD_READERS}",
    ),
    "another type": (lambda r: fields(r)["discount"].update(type="number"), "discount: type was 'integer'"),
    "a wider limit": (
        lambda r: fields(r)["discount"].update(maximum=11),
        f"discount: maximum was 10, is 11; {OLD_READERS}",
    ),
    "a narrower limit": (
        lambda r: fields(r)["receipt_id"].update(maxLength=99),
        f"receipt_id: maxLength was 100, is 99; {NEW_READERS}",
    ),
    "a limit less": (
        lambda r: fields(r)["discount"].pop("minimum"),
        f"discount: minimum was 0, is nothing; {OLD_READERS}",
    ),
    "a limit more": (
        lambda r: fields(r)["lines"].update(maxItems=5),
        f"lines: maxItems was nothing, is 5; {NEW_READERS}",
    ),
    "a lower least": (lambda r: fields(r)["lines"].update(minItems=0), f"lines: minItems was 1, is 0; {OLD_READERS}"),
    "a value more": (
        lambda r: fields(r)["state"]["enum"].append("returned"),
        f'state: "returned" may be said now; {OLD_READERS}',
    ),
    "a value less": (
        lambda r: fields(r)["state"]["enum"].remove("paid"),
        f'state: "paid" may no longer be said; {NEW_READERS}',
    ),
    "free values": (lambda r: fields(r).update(state={"type": "string"}), "state: "),
    "another const": (lambda r: fields(r).update(kind={"const": "gift"}), 'kind: "gift" may be said now'),
    "null no longer": (
        lambda r: fields(r).update(phone={"type": "string", "pattern": "^[0-9]+$", "default": None}),
        "phone: the alternative 'null' is gone",
    ),
    "null as well": (
        lambda r: fields(r).update(state={"anyOf": [{"enum": ["paid", "cancelled"]}, {"type": "null"}]}),
        "state: the alternative 'null' is new",
    ),
    "another pattern": (
        lambda r: fields(r)["phone"]["anyOf"][0].update(pattern="^[0-9]{4}$"),
        "phone: the alternative 'string' is gone or changed",
    ),
    "another default": (lambda r: fields(r)["discount"].update(default=5), "discount: the default was 0, is 5"),
    "a line's field": (
        lambda r: r["$defs"]["Line"]["required"].append("category"),
        f"lines[].category: is needed now; {NEW_READERS}",
    ),
    "values of a map": (
        lambda r: fields(r)["parameters"].update(additionalProperties={"type": "string"}),
        "parameters.*: type was 'integer', is 'string'",
    ),
    "unknown fields forbidden": (lambda r: r.update(additionalProperties=False), "value: additionalProperties was"),
    "another topic": (lambda r: r.update({"x-topic": "pos.receipts"}), "value: x-topic was"),
}


@pytest.mark.parametrize("change", COMPATIBLE.values(), ids=COMPATIBLE.keys())
def test_a_compatible_change_is_let_through(change: Callable[[Schema], object]) -> None:
    assert incompatibilities(RECEIPT, changed(change)) == []


@pytest.mark.parametrize(("change", "told"), BREAKING.values(), ids=BREAKING.keys())
def test_a_breaking_change_is_named_with_its_field(change: Callable[[Schema], object], told: str) -> None:
    found = incompatibilities(RECEIPT, changed(change))
    assert any(each.startswith(told) for each in found), found


def test_a_schema_that_refers_to_itself_is_compared() -> None:
    tree: Schema = {"$ref": "#/$defs/Node", "$defs": {"Node": {"properties": {"child": {"$ref": "#/$defs/Node"}}}}}
    assert incompatibilities(tree, deepcopy(tree)) == []


def objects(values: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    def build(properties: Schema, needed: set[str]) -> Schema:
        return {"type": "object", "properties": properties, "required": sorted(needed & properties.keys())}

    names = st.sampled_from("abc")
    return st.builds(build, st.dictionaries(names, values, max_size=3), st.sets(names))


INTEGERS = st.builds(
    lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size}, *[st.integers(0, 3)] * 2
)
STRINGS = st.builds(lambda most: {"type": "string", "maxLength": most}, st.integers(0, 3))
ENUMS = st.builds(lambda values: {"enum": sorted(values)}, st.sets(st.sampled_from("abc"), min_size=1))
SCALARS = INTEGERS | STRINGS | ENUMS | st.just({"type": "null"})
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner)
        | st.builds(lambda items, most: {"type": "array", "items": items, "maxItems": most}, inner, st.integers(0, 2))
        | objects(inner)
    ),
    max_leaves=4,
)


def instances(schema: Schema) -> st.SearchStrategy[Any]:
    """What a writer of the schema may write; fields that it does not name, a writer does not write."""
    if "anyOf" in schema:
        return st.one_of(*map(instances, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    if schema["type"] == "string":
        return st.text("abcd", max_size=schema["maxLength"])
    if schema["type"] == "array":
        return st.lists(instances(schema["items"]), max_size=schema["maxItems"])
    if schema["type"] == "null":
        return st.none()
    made = {name: instances(field) for name, field in schema["properties"].items()}
    needed = set(schema["required"])
    return st.fixed_dictionaries(
        {name: made[name] for name in made if name in needed},
        optional={name: made[name] for name in made if name not in needed},
    )


RECORDS = objects(VALUES)


@st.composite
def retouched(draw: st.DrawFn, schema: Schema) -> Schema:
    """The schema with one small thing changed, or wrapped, or another one altogether."""
    options: list[Schema] = [{"anyOf": [schema, {"type": "null"}]}, draw(VALUES)]
    match schema:
        case {"anyOf": [one, other]}:
            options += [one, {"anyOf": [other, one]}, {"anyOf": [draw(retouched(one)), other]}]
        case {"enum": values}:
            options += [{"enum": values[1:] or ["d"]}, {"enum": [*values, "d"]}, {"enum": values[::-1]}]
        case {"items": items}:
            options += [schema | {"items": draw(retouched(items))}]
        case {"properties": properties, "required": needed}:
            name = draw(st.sampled_from("abc"))
            value = draw(retouched(properties[name])) if name in properties else draw(VALUES)
            options += [
                schema | {"properties": properties | {name: value}},
                schema | {"required": sorted(set(needed) ^ ({name} & properties.keys()))},
            ]
        case _:
            limits = schema.keys() - {"type"}
            options += [
                schema | {limit: schema[limit] + by}
                for limit in sorted(limits)
                for by in (-1, 1)
                if schema[limit] + by >= 0
            ]
    return draw(st.sampled_from(options))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Schema, Schema]:
    """Two schemas of objects, mostly much alike."""
    old = draw(RECORDS)
    new = draw(retouched(old).filter(lambda schema: schema.get("type") == "object"))
    return old, new


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(pairs(), st.data())
def test_where_nothing_is_told_readers_of_either_age_accept_writers_of_either_age(
    schemas: tuple[Schema, Schema], data: st.DataObject
) -> None:
    old, new = schemas
    if not incompatibilities(old, new):
        for writer, reader in ((old, new), (new, old)):
            for _ in range(5):
                written = data.draw(instances(writer))
                assert Draft202012Validator(reader).is_valid(written), (written, reader)


@settings(deadline=None)
@given(RECORDS, VALUES)
def test_a_new_optional_field_is_always_let_through(record: Schema, value: Schema) -> None:
    grown = deepcopy(record)
    grown["properties"]["new"] = value
    assert incompatibilities(record, grown) == []
    assert incompatibilities(grown, record) != []


def test_the_records_changed_only_in_compatible_ways_since_main() -> None:
    before = schemas_on_main()
    now = {path.name: json.loads(text) for path, text in generated().items() if path.parent.name == "schemas"}
    found = {name: incompatibilities(schema, now[name]) for name, schema in before.items() if name in now}
    found |= {name: ["is gone; a topic still has such records"] for name in before.keys() - now.keys()}
    broken = [f"{name}: {each}" for name, each_of in found.items() for each in each_of]
    assert not broken, "declare a new version (v2) beside the old one:\n" + "\n".join(broken)


def schemas_on_main() -> dict[str, Schema]:
    """The schemas where this branch left main; empty outside a repository and where main has none yet."""
    base = next(filter(None, (git("merge-base", "HEAD", main) for main in ("origin/main", "main"))), "")
    listed = git("ls-tree", "--name-only", base, "contracts/schemas/") if base else ""
    return {Path(path).name: json.loads(git("show", f"{base}:{path}")) for path in listed.splitlines()}


def git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""
