"""What a purchase costs when the programme has grown: many customers, many purchases in the ledger."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks import history
from benchmarks.curve_picture import Cost, picture
from benchmarks.laws import violations
from benchmarks.receipts import words_of
from benchmarks.report import Figure, against, laws
from benchmarks.stage import Server, scene, workers
from benchmarks.throughput import rate
from chassis.ids import new_id

COST = "us a purchase"


async def measure(server: Server, customers: Sequence[int], operations: Sequence[int], receipts: int) -> list[Figure]:
    """Microseconds a purchase with one worker, at each number of customers with each number of purchases before.

    Named curve.<customers>.<purchases before>, and compared with the first of them.
    `operations`: rising. `receipts`: how many are credited at each step.
    """
    figures: list[Figure] = []
    for count in customers:
        steps = await _measure_steps(server, count, operations, receipts)
        first = figures[0] if figures else steps[0]
        figures += [against(each, first) if each.unit == COST and each != first else each for each in steps]
    return figures


async def _measure_steps(server: Server, customers: int, operations: Sequence[int], receipts: int) -> list[Figure]:
    figures = []
    async with scene(server, f"curve_{customers}", customers=customers) as here:
        before = 0
        for step, past in enumerate(operations, 1):
            await history.write(here, before, past, customers)
            before, since = past, new_id()
            await here.publish(words_of(receipts, customers, seed=step, made=receipts * (step - 1)))
            with workers(here, 1):
                await here.wait_for(receipts * step)
            name = f"curve.{customers}.{past}"
            figures += [
                Figure(name, 1_000_000 / await rate(here, since), COST),
                laws(name, await violations(here, receipts * step)),
            ]
    return figures


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Make the picture of measured figures."""
    costs = []
    for each in figures:
        if each.unit == COST:
            _, customers, operations = each.name.split(".")
            costs.append(Cost(int(customers), int(operations), each.value))
    path.write_text(picture(costs))
