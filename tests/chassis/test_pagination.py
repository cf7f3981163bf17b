import base64
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.database import Database
from chassis.pagination import LIMIT_MAX, Keyset, PageAsked
from chassis.problems import Problem
from tests.chassis.conftest import OpenDatabase

metadata = sa.MetaData()
visits = sa.Table(
    "visits",
    metadata,
    sa.Column("store", sa.Text, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("till", sa.Integer, nullable=False),
    sa.Column("no", sa.BigInteger, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("weight", sa.Numeric, nullable=False),
)
ROWS_MAX = 30
KEYSETS = [
    Keyset([visits.c.store, visits.c.at, visits.c.id]),
    Keyset([visits.c.store, visits.c.at, visits.c.id], descending=True),
    Keyset([visits.c.till, visits.c.id]),
    Keyset([visits.c.no, visits.c.day, visits.c.weight, visits.c.id], descending=True),
]
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
FEW = st.sampled_from(["", "1", "367", "а", "Я", "ё", "z' or 1=1", '"', "\\", "\n", "😀"])
VISITS = st.lists(
    st.fixed_dictionaries(
        {
            "store": FEW,
            "at": st.sampled_from([datetime(2025, 11, 2, tzinfo=UTC), datetime(2025, 11, 2, 0, 0, 0, 1, UTC)])
            | MOMENTS,
            "id": st.uuids(),
            "till": st.integers(-(2**31), 2**31 - 1) | st.integers(0, 1),
            "no": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 1),
            "day": st.sampled_from([date(2025, 11, 2)]) | st.dates(),
            "weight": st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9),
        }
    ),
    max_size=ROWS_MAX,
    unique_by=lambda visit: visit["id"],
)


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database(metadata)


async def all_pages(database: Database, keyset: Keyset, limit: int) -> list[Sequence[sa.Row[Any]]]:
    pages: list[Sequence[sa.Row[Any]]] = []
    cursor = None
    while cursor is not None or not pages:
        assert len(pages) <= ROWS_MAX, "the pages never end"
        async with database.reading() as tx:
            rows, cursor = await keyset.page(tx, sa.select(visits), PageAsked(limit, cursor))
        pages.append(rows)
    return pages


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=VISITS, keyset=st.sampled_from(KEYSETS), limit=st.integers(1, 7) | st.just(LIMIT_MAX))
async def test_paging_through_any_rows_gives_each_once_and_in_order(
    database: Database, rows: list[dict[str, Any]], keyset: Keyset, limit: int
) -> None:
    async with database.transaction() as tx:
        await tx.execute(visits.delete())
        if rows:
            await tx.execute(visits.insert(), rows)
        order = [column.desc() if keyset.descending else column for column in keyset.columns]
        expected = list((await tx.execute(sa.select(visits.c.id).order_by(*order))).scalars())

    pages = await all_pages(database, keyset, limit)

    assert [row.id for page in pages for row in page] == expected
    assert all(len(page) == limit for page in pages[:-1])


async def test_rows_that_come_and_go_disturb_no_other_row(database: Database) -> None:
    keyset = Keyset([visits.c.till, visits.c.id])
    async with database.transaction() as tx:
        await tx.execute(visits.insert(), [visit(till) for till in range(0, 20, 2)])
        first, cursor = await keyset.page(tx, sa.select(visits), PageAsked(5, None))
        await tx.execute(visits.delete().where(visits.c.till.in_([0, 8])))
        await tx.execute(visits.insert(), [visit(1), visit(11)])
        second, cursor = await keyset.page(tx, sa.select(visits), PageAsked(10, cursor))

    assert [row.till for row in first] == [0, 2, 4, 6, 8]
    assert [row.till for row in second] == [10, 11, 12, 14, 16, 18]
    assert cursor is None


def visit(till: int) -> dict[str, object]:
    now = datetime(2025, 11, 2, tzinfo=UTC)
    return {"store": "367", "at": now, "id": UUID(int=till), "till": till, "no": 0, "day": now, "weight": Decimal(1)}


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


ORDER = Keyset([visits.c.till, visits.c.id])
GOOD_ID = "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "!",
        "a",
        "курсор",
        encoded("1"),
        encoded("[]"),
        encoded("{}"),
        encoded("["),
        encoded("\0"),
        encoded(f"[{ORDER._order}]"),
        encoded(f'[{ORDER._order}, 1, "{GOOD_ID}", 1]'),
        encoded(f'[{ORDER._order}, null, "{GOOD_ID}"]'),
        encoded(f'[{ORDER._order}, 2147483648, "{GOOD_ID}"]'),
        encoded(f'[{ORDER._order}, 1e400, "{GOOD_ID}"]'),
        encoded(f'[{ORDER._order}, 1, "\'; DROP TABLE visits"]'),
        encoded(f'[{ORDER._order + 1}, 1, "{GOOD_ID}"]'),
        encoded("[" * 1500),
    ],
)
async def test_a_cursor_that_is_not_ours_is_refused_with_its_field_named(database: Database, cursor: str) -> None:
    async with database.reading() as tx:
        with pytest.raises(Problem) as refused:
            await ORDER.page(tx, sa.select(visits), PageAsked(10, cursor))

    assert (refused.value.status, refused.value.code) == (400, "bad_cursor")
    assert [fault.field for fault in refused.value.faults] == ["cursor"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (visits.c.store, '"a\\u0000"'),
        (visits.c.store, '"\\ud800"'),
        (visits.c.at, '"2025-11-02T15:04:05"'),
        (visits.c.no, "9223372036854775808"),
        (visits.c.weight, '"NaN"'),
        (visits.c.weight, '"Infinity"'),
        (visits.c.day, '"2025-02-30"'),
    ],
)
async def test_a_forged_value_that_the_column_cannot_hold_never_reaches_the_database(
    database: Database, column: sa.Column[Any], value: str
) -> None:
    keyset = Keyset([column])
    async with database.reading() as tx:
        with pytest.raises(Problem) as refused:
            await keyset.page(tx, sa.select(visits), PageAsked(10, encoded(f"[{keyset._order}, {value}]")))

    assert refused.value.code == "bad_cursor"


async def test_a_cursor_of_another_list_is_refused(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute(visits.insert(), [visit(1), visit(2)])
        _, cursor = await ORDER.page(tx, sa.select(visits), PageAsked(1, None))
        backwards = Keyset(ORDER.columns, descending=True)

        with pytest.raises(Problem):
            await backwards.page(tx, sa.select(visits), PageAsked(1, cursor))


def test_a_keyset_of_a_type_without_an_order_in_json_is_a_mistake_of_the_programmer() -> None:
    with pytest.raises(TypeError, match="keyset"):
        Keyset([sa.column("bytes", sa.LargeBinary)])._keys  # noqa: B018


async def test_a_later_page_is_read_from_the_index_and_planned_for_its_limit(database: Database) -> None:
    keyset = Keyset([visits.c.store, visits.c.at, visits.c.id])
    async with database.transaction() as tx:
        await tx.sql(
            "INSERT INTO visits SELECT '367', '2025-11-02Z'::timestamptz + n * '1 s'::interval, gen_random_uuid(), "
            "n, n, '2025-11-02', 1 FROM generate_series(1, 50000) AS n"
        )
    async with database.transaction() as tx:
        await tx.sql("ANALYZE visits")
        _, cursor = await keyset.page(tx, sa.select(visits), PageAsked(50, None))
        select = keyset._selection(sa.select(visits), PageAsked(50, cursor))
        query = str(select.compile(tx.connection.engine.sync_engine))
        await tx.sql(f"PREPARE a_page AS {query}")
        plan = [row[0] for row in await tx.sql(f"EXPLAIN EXECUTE a_page ('367', '2025-11-02T10:00Z', '{GOOD_ID}')")]

    assert query.endswith("LIMIT 51")
    assert any("Index Scan" in line for line in plan), plan
    assert not any("Sort" in line for line in plan), plan
