"""The table that is printed, and `bench.json`: name, value, unit, and the ratio to what it is compared with."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured figure; `ratio` is its value over the value of `versus`, measured in the same run."""

    name: str
    value: float
    unit: str
    versus: str | None = None
    ratio: float | None = None


def against(figure: Figure, other: Figure) -> Figure:
    """The figure beside what it is compared with."""
    return Figure(figure.name, figure.value, figure.unit, other.name, round(figure.value / other.value, 3))


def write(figures: list[Figure], path: Path) -> None:
    """Print the table and write the file."""
    table = Table(title=f"{platform.machine()}, {os.cpu_count()} cores")
    for column in ("name", "value", "unit", "versus", "ratio"):
        table.add_column(column, justify="left" if column in ("name", "unit", "versus") else "right")
    for each in figures:
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        table.add_row(each.name, f"{each.value:,.1f}", each.unit, each.versus or "", ratio)
    Console().print(table)
    path.write_text(json.dumps([asdict(each) for each in figures], indent=2) + "\n")
