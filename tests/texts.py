"""What a package says to people, found in its code and templates, to compare with its catalogues."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.extract import extract_from_dir

CODE = [("**.py", "python"), ("**/templates/**", "jinja2.ext:babel_extract")]
API = [("api.py", "python")]
SAID = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "Problem": (3,),
    "Fault": (2,),
}
CODES = {"Problem": (2,)}
VALIDATORS = {"ValueError": (1,)}
RAISED = "PydanticCustomError"

Text = str | tuple[str, ...]


def texts_of(package: Path) -> set[Text]:
    """Every English text of the package: a string, or the tuple of a plural's forms."""
    titles = {code.replace("_", " ").capitalize() for code in _extract(package, CODE, CODES) if isinstance(code, str)}
    return {*_extract(package, CODE, SAID), *_extract(package, API, VALIDATORS), *titles}


def texts_of_contracts(contracts: Path) -> set[Text]:
    """What the contracts' validators say; it reaches people through the problem documents."""
    return set(_extract(contracts, CODE, VALIDATORS))


def error_types_of(contracts: Path) -> set[str]:
    """The types of errors that the contracts add to pydantic's, whether by a validator or by a schema."""
    calls = [
        node
        for file in contracts.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    raised = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == RAISED]
    named = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "custom_error_type"]
    return {ast.literal_eval(each) for each in (*raised, *named)}


def _extract(package: Path, methods: list[tuple[str, str]], keywords: Any) -> Iterator[Text]:
    for _, _, text, _, _ in extract_from_dir(package, methods, keywords=keywords):
        if text:
            yield text
