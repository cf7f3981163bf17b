"""Writes docs/settings.md from the settings' own descriptions: `python -m deploy.settings_page [--check]`."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic_settings import BaseSettings

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "settings.md"
HEAD = """# Settings

Read from the environment. This page is generated (`python -m deploy.settings_page`); what a chain changes while the
system runs (terms, levels) is no setting but data with history.
"""


def modules() -> list[str]:
    """Every module of settings: the chassis', the command's, and those of the services that have some."""
    services = sorted(path.parent.name for path in (ROOT / "services").glob("*/settings.py"))
    return ["chassis.settings", "deploy.settings", *(f"services.{name}.settings" for name in services)]


def settings_of(module: str) -> Iterator[type[BaseSettings]]:
    """The classes of settings that a module defines."""
    for each in vars(importlib.import_module(module)).values():
        if isinstance(each, type) and issubclass(each, BaseSettings) and each.__module__ == module:
            yield each


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for module in modules():
        for settings in settings_of(module):
            parts += [f"\n## {settings.__doc__}\n\n| variable | default | meaning |\n|---|---|---|\n"]
            parts += _rows(settings)
    return "".join(parts)


def _rows(settings: type[BaseSettings]) -> Iterator[str]:
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        default = "" if field.default in (None, "") else f"`{field.default}`".replace(f"{ROOT}/", "")
        yield f"| `{prefix.upper()}{name.upper()}` | {default} | {field.description} |\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` say whether it is current."""
    if "--check" not in arguments:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == page():
        return 0
    print("docs/settings.md is stale: run `make fix`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
