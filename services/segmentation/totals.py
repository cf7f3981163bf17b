"""The sums kept beside each customer: money by currency, by store and by category. A batch is added at once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from chassis.transaction import Transaction
from contracts.loyalty import CategoryTotal

ADD_MONEY = """
INSERT INTO spending (customer_id, currency, purchases, paid_minor, returned_minor)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::bigint[])
ON CONFLICT (customer_id, currency) DO UPDATE SET
    purchases = spending.purchases + excluded.purchases,
    paid_minor = spending.paid_minor + excluded.paid_minor,
    returned_minor = spending.returned_minor + excluded.returned_minor
"""
ADD_STORES = """
INSERT INTO store_spending (customer_id, currency, store_id, purchases, total_minor)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::bigint[])
ON CONFLICT (customer_id, currency, store_id) DO UPDATE SET
    purchases = store_spending.purchases + excluded.purchases,
    total_minor = store_spending.total_minor + excluded.total_minor
"""
ADD_CATEGORIES = """
INSERT INTO category_spending (customer_id, currency, category, total_minor)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])
ON CONFLICT (customer_id, currency, category) DO UPDATE SET
    total_minor = category_spending.total_minor + excluded.total_minor
"""


class Totals:
    """What a batch adds to the sums; what it takes away is negative. Money in the smallest unit."""

    def __init__(self) -> None:
        self.money: dict[tuple[UUID, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        """(customer, currency) -> purchases, paid, returned."""
        self.stores: dict[tuple[UUID, str, str], list[int]] = defaultdict(lambda: [0, 0])
        """(customer, currency, store) -> purchases, paid less returned."""
        self.categories: dict[tuple[UUID, str, str], list[int]] = defaultdict(lambda: [0])
        """(customer, currency, category) -> paid less returned."""

    def add_money(
        self, customer_id: UUID, currency: str, *, purchases: int = 0, paid: int = 0, returned: int = 0
    ) -> None:
        _add(self.money[customer_id, currency], purchases, paid, returned)

    def add_store(self, customer_id: UUID, currency: str, store_id: str, *, purchases: int, total: int) -> None:
        _add(self.stores[customer_id, currency, store_id], purchases, total)

    def add_categories(
        self, customer_id: UUID, currency: str, categories: Sequence[CategoryTotal], *, sign: int
    ) -> None:
        for each in categories:
            _add(self.categories[customer_id, currency, each.category], sign * each.total_minor)

    async def write(self, tx: Transaction) -> None:
        """Add all of it; the customers' rows are locked (`lock_customers`)."""
        for statement, sums in (
            (ADD_MONEY, self.money),
            (ADD_STORES, self.stores),
            (ADD_CATEGORIES, self.categories),
        ):
            if sums:
                await tx.sql(statement, *_columns(sums))


def _add(sums: list[int], *more: int) -> None:
    for place, amount in enumerate(more):
        sums[place] += amount


def _columns(sums: Mapping[Any, list[int]]) -> list[tuple[Any, ...]]:
    return list(zip(*((*key, *amounts) for key, amounts in sums.items()), strict=True))
