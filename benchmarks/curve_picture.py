"""The curve of costs as an SVG that is read on a light page and on a dark one."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 590, 50, 340
TICKS = 5
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.quiet { fill: #59636e }
.grid { stroke: #d1d9e0 }
.line { fill: none; stroke-width: 2.5 }
.a { stroke: #0969da } .b { stroke: #bc4c00 } .c { stroke: #8250df } .d { stroke: #1a7f37 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .quiet { fill: #9198a1 } .grid { stroke: #3d444d }
  .a { stroke: #4493f8 } .b { stroke: #f0883e } .c { stroke: #ab7df8 } .d { stroke: #3fb950 }
}
"""
COLOURS = "abcd"


class Cost(NamedTuple):
    """What a purchase costs with so many customers and so many purchases before it."""

    customers: int
    operations: int
    us: float


def picture(costs: Sequence[Cost]) -> str:
    """A line for each number of customers, from few purchases in the ledger to many; the scale of costs begins at 0."""
    top = _rounded_up(max(each.us for each in costs))
    operations = sorted({each.operations for each in costs})
    customers = sorted({each.customers for each in costs})
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'aria-label="Cost of a purchase by customers and by purchases in the ledger">',
            f"<style>{STYLE}</style>",
            f'<text class="title" x="{LEFT}" y="24">Cost of one purchase, microseconds (one worker)</text>',
            *_grid(top, operations),
            *(
                part
                for place, count in enumerate(customers)
                for part in _line([each for each in costs if each.customers == count], operations, top, place)
            ),
            f'<text class="quiet" x="{(LEFT + RIGHT) / 2:.0f}" y="{HEIGHT - 16}" text-anchor="middle">'
            "purchases in the ledger</text>",
            "</svg>\n",
        ]
    )


def _grid(top: float, operations: Sequence[int]) -> Iterator[str]:
    for tick in range(TICKS + 1):
        us = top * tick / TICKS
        y = _y(us, top)
        yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"/>'
        yield f'<text class="quiet" x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{us:,.0f}</text>'
    for each in operations:
        x = _x(each, operations)
        yield f'<text class="quiet" x="{x:.1f}" y="{BOTTOM + 22}" text-anchor="middle">{each:,}</text>'


def _line(costs: Sequence[Cost], operations: Sequence[int], top: float, place: int) -> Iterator[str]:
    by_operations = sorted(costs, key=lambda each: each.operations)
    points = [(_x(each.operations, operations), _y(each.us, top)) for each in by_operations]
    colour = COLOURS[place % len(COLOURS)]
    yield f'<polyline class="line {colour}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
    for (x, y), each in zip(points, by_operations, strict=True):
        about = f"{each.customers:,} customers, {each.operations:,} purchases: {each.us:,.0f} microseconds"
        yield f'<circle class="line {colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{about}</title></circle>'
    key = TOP + 16 + 22 * place
    yield f'<line class="line {colour}" x1="{RIGHT + 14}" y1="{key}" x2="{RIGHT + 34}" y2="{key}"/>'
    yield f'<text x="{RIGHT + 40}" y="{key + 4}">{by_operations[0].customers:,}</text>'
    if place == 0:
        yield f'<text class="quiet" x="{RIGHT + 14}" y="{TOP}">customers</text>'


def _x(operations: int, steps: Sequence[int]) -> float:
    """The steps stand evenly: they are of different orders of magnitude."""
    return LEFT + (RIGHT - LEFT) * (steps.index(operations) + 0.5) / len(steps)


def _y(us: float, top: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * us / top


def _rounded_up(us: float) -> float:
    step = 100
    while us > step * TICKS:
        step *= 2
    return step * TICKS
