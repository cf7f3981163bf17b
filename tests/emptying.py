"""Making a database empty again between two tests."""

from collections.abc import Collection

import sqlalchemy as sa


def emptying(metadata: sa.MetaData, *, kept: Collection[str] = ()) -> sa.TextClause:
    """SQL that leaves no row in the tables, but those that are `kept`, and lets the identities begin anew.

    TRUNCATE would make every table and index a new file: a hundred times the cost where there are a few rows.
    """
    tables = [table for table in reversed(metadata.sorted_tables) if table.name not in kept]
    steps = [f"DELETE FROM {table.name}" for table in tables]
    steps += [
        f"PERFORM setval(pg_get_serial_sequence('{table.name}', '{column.name}'), 1, false)"
        for table in tables
        for column in table.columns
        if column.identity is not None
    ]
    return sa.text(f"DO $$ BEGIN {'; '.join(steps)}; END $$")
