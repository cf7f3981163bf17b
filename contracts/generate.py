"""Writes what is generated from the contracts: schemas/<ce_type>.json and asyncapi.json.

python -m contracts.generate            write what is stale, remove what is of no record any more
python -m contracts.generate --check    name it and exit with 1
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from contracts.asyncapi import document
from contracts.json_schemas import all_records, json_schema

FOLDER = Path(__file__).parent


def generated() -> dict[Path, str]:
    """Every generated file, below this folder, and what is to be in it."""
    schemas = {Path("schemas") / f"{name}.json": json_schema(record) for name, record in all_records().items()}
    documents: dict[Path, Any] = {**schemas, Path("asyncapi.json"): document()}
    return {path: json.dumps(each, ensure_ascii=False, indent=2) + "\n" for path, each in documents.items()}


def stale(folder: Path = FOLDER) -> dict[Path, str | None]:
    """The files that differ from what is generated, and what is to be in them; None for those that are to go."""
    wanted = generated()
    there = {path.relative_to(folder) for path in (folder / "schemas").glob("*.json")}
    differs: dict[Path, str | None] = {path: text for path, text in wanted.items() if _read(folder / path) != text}
    return differs | dict.fromkeys(sorted(there - set(wanted)))


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(prog="python -m contracts.generate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where something is stale")
    check = parser.parse_args(arguments).check
    differs = stale(folder)
    for path, text in differs.items():
        name = Path("contracts") / path
        if check:
            sys.stderr.write(f"{name} is stale: run `python -m contracts.generate` (make fix) and commit it\n")
        elif text is None:
            (folder / path).unlink()
            sys.stdout.write(f"{name} removed\n")
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
            sys.stdout.write(f"{name} written\n")
    return int(check and bool(differs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
