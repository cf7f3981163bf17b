"""The repository keeps itself tidy: where things are, what is documented, what is left unfinished."""

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from contracts.parties import SAYS
from contracts.records import BY_TYPE
from contracts.topics import TOPICS
from deploy import settings_page

THIS = Path(__file__)
ROOT = THIS.parent.parent
SERVICES = ("customers", "loyalty", "messaging", "segmentation", "feedback")
SKELETON = ("__init__.py", "__main__.py", "handlers.py", "api.py", "tables.py", "migrations")
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|managers?|base|misc)(_|$)")
UNFINISHED = re.compile(r"\b(TODO|FIXME|HACK)\b")
FOREIGN = re.compile(r"pypi\.org|pythonhosted\.org|repo1\.maven|registry\.npmjs|/root/|/work/")
MOST_LINES = 450


@cache
def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).exists()]


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def own_sources() -> list[Path]:
    return [path for path in sources() if "tests" not in path.relative_to(ROOT).parts]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def text_of_any(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_files_that_every_service_has(service: str) -> None:
    assert [name for name in SKELETON if not (ROOT / "services" / service / name).exists()] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_says_what_it_owns_hears_and_says(service: str) -> None:
    docstring = importlib.import_module(f"services.{service}").__doc__ or ""
    assert [word for word in ("Owns", "Hears", "Says") if word.lower() not in docstring.lower()] == []


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in own_sources() if text(path).strip() and not ast.get_docstring(ast.parse(text(path)))]
    assert silent == []


def test_nothing_is_called_by_a_word_without_meaning() -> None:
    assert [path for path in own_sources() if BANNED_NAMES.search(path.stem)] == []


def test_nothing_is_marked_as_unfinished() -> None:
    code = [path for path in tracked() if path.suffix in (".py", ".sql", ".sh", ".html", ".js") and path != THIS]
    assert [path for path in code if UNFINISHED.search(text(path))] == []


def test_everything_in_the_repository_is_text() -> None:
    assert [path for path in tracked() if b"\0" in path.read_bytes()] == []


def test_a_file_is_one_room() -> None:
    assert [path for path in own_sources() if text(path).count("\n") > MOST_LINES] == []


def test_every_record_type_is_said_by_someone_heard_by_someone_and_explained() -> None:
    said = {record.type for records in SAYS.values() for record in records}
    assert set(BY_TYPE) - said == set()
    assert {name for name, record in BY_TYPE.items() if not (record.__doc__ or "").strip()} == set()
    assert {record.topic for record in BY_TYPE.values()} == set(TOPICS)


def test_what_a_request_depends_on_needs_no_thread() -> None:
    """FastAPI runs a plain function in a thread, which waits for the loop's thread to give way."""
    plain = [
        f"{path.relative_to(ROOT)}: {function.name}"
        for path in own_sources()
        if (depended := set(re.findall(r"Depends\((\w+)\)", text(path))))
        for function in ast.walk(ast.parse(text(path)))
        if isinstance(function, ast.FunctionDef) and function.name in depended
    ]
    assert plain == []


@pytest.mark.parametrize("module", settings_page.modules())
def test_every_setting_is_explained(module: str) -> None:
    classes: list[type[BaseSettings]] = list(settings_page.settings_of(module))
    assert classes
    assert [name for each in classes for name, field in each.model_fields.items() if not field.description] == []


def test_the_page_of_settings_is_current() -> None:
    assert settings_page.main(["--check"]) == 0


def test_no_registry_host_and_no_path_of_a_machine_is_named() -> None:
    named = [path for path in tracked() if path.is_file() and path != THIS and FOREIGN.search(text_of_any(path))]
    assert named == []


def test_every_import_rule_is_kept() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    linted = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout
