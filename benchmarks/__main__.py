"""`python -m benchmarks [--curve | --expiry | --holds] [--receipts N] [--seconds S] [--out bench.json] …`."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop

from benchmarks import curve, expiry, holds, latency, stage, throughput
from benchmarks.report import Figure, are_void, write
from deploy.local.postgres import EmbeddedPostgres


def main(
    receipts: Annotated[int, typer.Option(help="Receipts on the topic for a throughput.")] = 150_000,
    seconds: Annotated[int, typer.Option(help="How long pgbench and the runs at a rate take, seconds.")] = 20,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("bench.json"),
    only_holds: Annotated[bool, typer.Option("--holds", help="Quotes and holds alone.")] = False,
    only_curve: Annotated[bool, typer.Option("--curve", help="What growth costs, alone: an hour or two.")] = False,
    only_expiry: Annotated[bool, typer.Option("--expiry", help="The end of a year, alone: takes an hour.")] = False,
    visits: Annotated[float, typer.Option(help="Customers a second who are quoted and have points held.")] = 300,
    beside: Annotated[float, typer.Option(help="Purchases a second beside them.")] = 1000,
    customers: Annotated[str, typer.Option(help="Sizes of the programme for --curve.")] = "10000,100000,1000000",
    operations: Annotated[str, typer.Option(help="Purchases before, for --curve, rising.")] = "0,1000000,10000000",
    picture: Annotated[Path, typer.Option(help="Where --curve draws it.")] = Path("docs/cost-curve.svg"),
    lots: Annotated[int, typer.Option(help="Lots that end at one moment, for --expiry.")] = 10_000_000,
) -> None:
    """Measure, print, write; exits 1 where a law of the ledger was broken, which makes the figures void."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with stage.postgres() as server:
        if only_curve:
            measuring = curve.measure(server, _numbers(customers), _numbers(operations), receipts)
        elif only_expiry:
            measuring = expiry.measure(server, lots=lots, seconds=seconds)
        elif only_holds:
            measuring = holds.measure(server, visits_per_s=visits, purchases_per_s=beside, seconds=seconds)
        else:
            measuring = _measure(server, receipts, seconds, visits, beside)
        figures = uvloop.run(measuring)
    write(figures, out)
    if are_void(figures):
        sys.exit("The ledger is wrong after the run: every figure above is void.")
    if only_curve:
        curve.draw(figures, picture)


async def _measure(server: EmbeddedPostgres, receipts: int, seconds: int, visits: float, beside: float) -> list[Figure]:
    figures = await throughput.measure(server, receipts, seconds)
    one_worker = next(each.value for each in figures if each.name == "accrual.one_worker")
    return [
        *figures,
        *await latency.measure(server, rate=one_worker / 2, seconds=seconds),
        *await holds.measure(server, visits_per_s=visits, purchases_per_s=beside, seconds=seconds),
    ]


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


if __name__ == "__main__":
    typer.run(main)
