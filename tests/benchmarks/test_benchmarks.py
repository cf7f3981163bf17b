import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import history, sql_only
from benchmarks.curve_picture import Cost, picture
from benchmarks.laws import violations
from benchmarks.receipts import words_of
from benchmarks.report import LAWS, Figure, against, are_void, laws, write
from benchmarks.stage import ledger
from tests.infra import Postgres

CUSTOMERS = 100


async def test_a_written_past_breaks_no_law_and_what_is_wrong_with_it_is_seen(postgres: Postgres) -> None:
    async with ledger(postgres, "past", customers=CUSTOMERS) as here:
        await history.write(here, 0, 130, CUSTOMERS)
        await history.write(here, 130, 1000, CUSTOMERS)
        assert await violations(here, 0) == 0
        assert tuple(await here.row("SELECT count(*), sum(points)::bigint FROM operations")) == (1000, 34_500)
        assert await violations(here, 1) == 1
        await here.row("UPDATE accounts SET balance = balance + 1")
        assert await violations(here, 0) > CUSTOMERS


async def test_the_sql_of_accrual_alone_credits_each_receipt_once(postgres: Postgres) -> None:
    figures = await sql_only.measure(postgres, words_of(1200, CUSTOMERS), customers=CUSTOMERS)
    assert [each.value for each in figures if each.unit == LAWS] == [0, 0]
    assert all(each.value > 0 for each in figures if each.unit != LAWS)


def test_the_file_keeps_the_figures_of_other_scenarios(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    write([Figure("one", 1, "s"), Figure("other", 2, "s")], path)
    write([against(Figure("one", 3, "s"), Figure("yardstick", 6, "s"), wanted="0.6")], path)
    assert [(each["name"], each["value"], each["ratio"]) for each in json.loads(path.read_text())] == [
        ("other", 2, None),
        ("one", 3, 0.5),
    ]


def test_one_broken_law_makes_all_figures_void() -> None:
    assert not are_void([Figure("one", 1, "s"), laws("one", 0)])
    assert are_void([laws("one", 1), laws("other", 0)])


def test_the_picture_has_a_line_for_each_number_of_customers() -> None:
    costs = [Cost(customers, past, 300.0) for customers in (10_000, 1_000_000) for past in (0, 1_000_000)]
    drawn = ElementTree.fromstring(picture(costs))
    names = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"10,000", "1,000,000", "0"} <= set(names)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == 2


@pytest.mark.long
@pytest.mark.parametrize(
    "scenario",
    [
        ("--receipts", "6000", "--visits", "5", "--beside", "50"),
        ("--curve", "--receipts", "3000", "--customers", "100,1000", "--operations", "0,10000"),
        ("--expiry", "--lots", "5000"),
    ],
)
def test_every_scenario_runs(scenario: tuple[str, ...], tmp_path: Path) -> None:
    out, drawn = tmp_path / "bench.json", tmp_path / "curve.svg"
    command = [sys.executable, "-m", "benchmarks", *scenario, "--seconds", "3", "--out", str(out)]
    subprocess.run([*command, "--picture", str(drawn)], check=True, env=os.environ)
    figures = [Figure(**each) for each in json.loads(out.read_text())]
    assert any(each.unit == LAWS for each in figures)
    assert not are_void(figures)
    assert drawn.exists() == ("--curve" in scenario)
