"""The table of who says and hears what, held against the services' own code."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import services
from chassis.hears import Hears
from contracts.json_schemas import all_records
from contracts.parties import HEARS, PARTIES, PASSES_ON, SAYS
from contracts.topics import TOPICS

FOLDER = Path(services.__file__).parent
SERVICES = sorted(path.parent.name for path in FOLDER.glob("*/handlers.py"))
RECORDS = {record.__name__: record for record in all_records().values()}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_hears_what_the_table_says(service: str) -> None:
    hears: Hears = importlib.import_module(f"services.{service}.handlers").hears
    assert sorted(hears.known) == sorted(record.type for record in HEARS[service])


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_says_what_the_table_says(service: str) -> None:
    assert sorted(said_by(service)) == sorted(record.__name__ for record in SAYS[service])


def said_by(service: str) -> set[str]:
    """The records that the service's own modules make: whoever only hears a record never makes one."""
    return {name for path in (FOLDER / service).rglob("*.py") for name in made_in(ast.parse(path.read_text()))}


def made_in(tree: ast.Module) -> Iterator[str]:
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("contracts.")
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id=name), attr="model_construct")):
                if imported.get(name) in RECORDS:
                    yield imported[name]


def test_every_record_is_said_by_one_party() -> None:
    said = [record for records in SAYS.values() for record in records]
    assert sorted(record.type for record in said) == sorted(all_records())


def test_the_topics_are_written_by_those_who_say_their_records() -> None:
    for party, records in SAYS.items():
        for record in records:
            assert TOPICS[record.topic].writer == party, record.type


def test_what_is_passed_on_is_said_by_another_party_and_heard_by_whoever_passes_it_on() -> None:
    for party, records in PASSES_ON.items():
        assert set(records) & set(SAYS[party]) == set()
        assert set(records) <= set(HEARS[party])


def test_every_party_is_described() -> None:
    assert PARTIES.keys() == SAYS.keys() | HEARS.keys()
