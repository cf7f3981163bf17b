"""`python -m benchmarks [--receipts N] [--seconds S] [--out bench.json]`."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import accrual, pgbench, stage
from benchmarks.report import Figure, against, write


def main(
    receipts: Annotated[int, typer.Option(help="Receipts on the topic for the throughput.")] = 150_000,
    seconds: Annotated[int, typer.Option(help="How long pgbench and the latency run take, seconds.")] = 20,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("bench.json"),
) -> None:
    """Measure, print, write; exits 1 where a law of the ledger was broken, which makes every figure void."""
    figures = asyncio.run(measure(receipts, seconds))
    write(figures, out)
    if figures[-1].value:
        sys.exit("The ledger is wrong after the run: every figure above is void.")


async def measure(receipts: int, seconds: int) -> list[Figure]:
    """Every figure; the last one counts the broken laws."""
    words = accrual.words_of(receipts, datetime.now(UTC))
    with stage.postgres() as server:
        tpcb = pgbench.tpcb(server, seconds)
        drain = Figure("kafka.drain", round(await accrual.drained(server, words), 1), "records/s")
        rate, wrong = await accrual.throughput(server, words, processes=1)
        one = Figure("accrual.one_worker", round(rate, 1), "purchases/s")
        rate, more_wrong = await accrual.throughput(server, words, processes=2)
        two = Figure("accrual.two_workers", round(rate, 1), "purchases/s")
        p50, p99, most_wrong = await accrual.latency(server, rate=one.value / 2, seconds=seconds)
    return [
        tpcb,
        drain,
        against(one, tpcb),
        against(one, drain),
        against(two, tpcb),
        Figure("accrual.latency_p50", round(p50, 2), "ms"),
        Figure("accrual.latency_p99", round(p99, 2), "ms"),
        Figure("accrual.violations", wrong + more_wrong + most_wrong, "laws"),
    ]


if __name__ == "__main__":
    typer.run(main)
