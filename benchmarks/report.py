"""The table that is printed, and `bench.json`: name, value, unit, the ratio to what it is compared with, the aim."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

LAWS = "laws broken"
DIGITS = 4


@dataclass(frozen=True)
class Figure:
    """One measured figure; `ratio` is its value over the value of `versus`, measured in the same run."""

    name: str
    value: float
    unit: str
    versus: str | None = None
    ratio: float | None = None
    wanted: str | None = None
    """The aim: of the ratio where there is one, else of the value."""


def against(figure: Figure, other: Figure, *, wanted: str | None = None) -> Figure:
    """The figure beside what it is compared with; `wanted`: the aim for the ratio."""
    ratio = round(figure.value / other.value, DIGITS)
    return replace(figure, versus=other.name, ratio=ratio, wanted=f">= {wanted}" if wanted else None)


def laws(scenario: str, broken: int) -> Figure:
    """How many laws of the ledger were found broken after the scenario."""
    return Figure(f"{scenario}.violations", broken, LAWS)


def are_void(figures: Sequence[Figure]) -> bool:
    """Whether a law was broken."""
    return any(each.value for each in figures if each.unit == LAWS)


def write(figures: Sequence[Figure], path: Path) -> None:
    """Print the table and write the file. Figures of other scenarios that are in the file already stay there."""
    table = Table(title=f"{platform.machine()}, {os.cpu_count()} cores")
    for column in ("name", "value", "unit", "versus", "ratio", "wanted"):
        table.add_column(column, justify="right" if column in ("value", "ratio") else "left")
    for each in figures:
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        table.add_row(each.name, f"{each.value:,.1f}", each.unit, each.versus or "", ratio, each.wanted or "")
    Console(width=None if os.isatty(1) else 120).print(table)
    measured = {each.name for each in figures}
    before = json.loads(path.read_text()) if path.exists() else []
    kept = [each for each in before if each["name"] not in measured]
    rounded = [asdict(replace(each, value=round(each.value, DIGITS))) for each in figures]
    path.write_text(json.dumps(kept + rounded, indent=2) + "\n")
