"""The generated schemas: current, complete, and true to the models."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from chassis.envelope import Raw, decode, encode
from chassis.ids import new_id
from contracts.asyncapi import example_headers
from contracts.examples import EXAMPLES
from contracts.generate import generated, main, stale
from contracts.json_schemas import all_records, json_schema
from contracts.records import Record, Tombstone

RECORDS = all_records()
VALUES = {name: record for name, record in RECORDS.items() if not issubclass(record, Tombstone)}
by_type = pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS.keys())
with_value = pytest.mark.parametrize("record", VALUES.values(), ids=VALUES.keys())


def test_the_generated_files_are_current() -> None:
    assert list(stale()) == [], "run `python -m contracts.generate` (make fix) and commit what it writes"


def test_check_names_what_is_stale_and_generate_mends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "schemas" / "pos.purchase_completed.v1.json").write_text("{}")
    (tmp_path / "schemas" / "pos.receipt_lost.v1.json").write_text("{}")
    (tmp_path / "asyncapi.json").unlink()
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    told = capsys.readouterr().err
    for name in ("schemas/pos.purchase_completed.v1.json", "schemas/pos.receipt_lost.v1.json", "asyncapi.json"):
        assert f"contracts/{name} is stale" in told
    assert main([], tmp_path) == 0
    assert stale(tmp_path) == {}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.json")} == set(generated())


@by_type
def test_a_schema_is_a_json_schema(record: type[Record]) -> None:
    Draft202012Validator.check_schema(json_schema(record))


@with_value
def test_every_field_says_what_it_is_and_shows_an_example(record: type[Record]) -> None:
    schema = json_schema(record)
    for part in (schema, *schema.get("$defs", {}).values()):
        assert part["description"].endswith("."), part["title"]
        for name, field in part["properties"].items():
            assert field.get("description", "").endswith("."), f"{part['title']}.{name} needs a docstring"
            shown = json.dumps(field)
            assert '"examples"' in shown or '"$ref"' in shown, f"{part['title']}.{name} needs an example"


@with_value
def test_the_examples_of_the_fields_are_valid(record: type[Record]) -> None:
    schema = json_schema(record)
    for part in (schema, *schema.get("$defs", {}).values()):
        for field in part["properties"].values():
            for example in field.get("examples", ()):
                checked({**field, "$defs": schema.get("$defs", {})}, example)


NOT_BESIDE_THE_OTHERS = {
    "loyalty.points_accrued.v1": {"withheld", "buyer_id", "debt_paid", "points_missing"},
    "loyalty.points_returned.v1": {"buyer_id"},
    "loyalty.review_decided.v1": {"rejected_categories"},
    "pos.purchase_completed.v1": {"hold_id"},
}
"""Where points were earned, none were withheld; most accounts are the buyer's own, owe nothing, pay with money, or with
points that are there; what is approved is not rejected;
points are whole ones."""


@by_type
def test_the_example_of_a_record_is_complete_and_valid(record: type[Record]) -> None:
    example = EXAMPLES[record.type]
    assert set(example) == set(record.model_fields) - NOT_BESIDE_THE_OTHERS.get(record.type, set()) - {"points_scale"}
    understood = record.model_validate_json(json.dumps(example))
    if issubclass(record, Tombstone):
        checked(json_schema(record), None)
    else:
        checked(json_schema(record), example)
        assert same(json.loads(value_of(understood)), example)


@by_type
def test_the_example_with_its_headers_is_understood_as_it_would_come_off_the_bus(record: type[Record]) -> None:
    headers = tuple((name, text.encode()) for name, text in example_headers(record).items())
    example = record.model_validate_json(json.dumps(EXAMPLES[record.type]))
    value = None if issubclass(record, Tombstone) else json.dumps(EXAMPLES[record.type]).encode()
    raw = Raw(record.topic, 0, 0, 0, example.key.encode(), value, headers)
    heard = decode(raw, RECORDS, value_max_bytes=100_000)
    assert heard is not None
    assert heard.record == example


@with_value
def test_what_a_model_writes_its_schema_accepts(record: type[Record]) -> None:
    needed = json_schema(record)["required"]
    least = {name: value for name, value in EXAMPLES[record.type].items() if name in needed or name == "card_number"}
    if "total_minor" in least and "discount_minor" in EXAMPLES[record.type]:
        least["discount_minor"] = EXAMPLES[record.type]["discount_minor"]
    written = value_of(record.model_validate_json(json.dumps(least)))
    checked(json_schema(record), json.loads(written))


def test_nobody_is_refused_by_the_schema_as_by_the_model() -> None:
    example = EXAMPLES["pos.purchase_cancelled.v1"]
    nobody = {name: value for name, value in example.items() if name not in ("card_number", "phone", "customer_id")}
    schema = Draft202012Validator(json_schema(RECORDS["pos.purchase_cancelled.v1"]))
    assert not schema.is_valid(nobody)
    assert not schema.is_valid({**nobody, "card_number": None})
    assert schema.is_valid({**nobody, "phone": "+79161234567"})


def checked(schema: Any, value: Any) -> None:
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(value)


def value_of(record: Record) -> bytes:
    _, value = encode(record, event_id=new_id(), source="/tests", time=datetime.now(UTC), traceparent=None)
    assert value is not None
    return value


def same(one: Any, other: Any) -> bool:
    """Equal as JSON, moments by the moment that they name."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, str) and isinstance(other, str) and "T" in one and ":" in one:
        return datetime.fromisoformat(one) == datetime.fromisoformat(other)
    return bool(one == other)
