"""What the tills of a benchmark say: customers with a card each, and receipts of some lines, the same in every run."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

from chassis.ids import new_id
from chassis.outbox import Word
from chassis.publishing import Publication
from contracts.fields import ean13_check_digit
from contracts.purchases import PurchaseCompleted, PurchaseLine

STORES = 40
CATEGORIES = ("BANANAS", "BREAD", "MILK", "CHEESE", "COFFEE", "FUEL", "SOFT DRINKS", "YOGURT", "BEEF", "EGGS")


def words_of(count: int, customers: int, *, seed: int = 1, made: int = 0) -> list[Word]:
    """The bytes of so many receipts of these customers, all of them paid yesterday."""
    tills = Tills(customers, seed=seed, made=made)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    return [tills.receipt(yesterday + timedelta(milliseconds=each)).word() for each in range(count)]


def card_of(place: int) -> str:
    """The card of the customer at that place: an EAN-13 of the shop's own range."""
    number = f"290{place:09d}"
    return number + ean13_check_digit(number)


def customer_of(place: int) -> UUID:
    return UUID(int=(7 << 76) | (2 << 62) | (place + 1))


class Tills:
    """Receipts of random customers, with as many lines as Complete Journey's baskets have (mean 9)."""

    def __init__(self, customers: int, *, seed: int = 1, made: int = 0) -> None:
        """`made`: the number of the last receipt that other tills have printed."""
        self.customers = customers
        self.random = random.Random(seed)
        self.made = made

    def receipt(self, completed_at: datetime) -> Publication:
        """The next receipt, paid at that moment."""
        purchase = self.purchase(completed_at)
        return Publication(purchase, new_id(), f"/tills/{purchase.terminal_id}", completed_at)

    def purchase(self, completed_at: datetime) -> PurchaseCompleted:
        """What the next receipt says."""
        self.made += 1
        place = self.random.randrange(self.customers)
        lines = [self._line(number) for number in range(1, 1 + self._line_count())]
        store = self.random.randrange(STORES)
        return PurchaseCompleted.model_construct(
            card_number=card_of(place),
            phone=None,
            customer_id=None,
            receipt_id=f"{store}-{self.made:09d}",
            store_id=str(store),
            terminal_id=f"{store}-1",
            completed_at=completed_at,
            currency="USD",
            lines=lines,
            discount_minor=sum(line.discount_minor for line in lines),
            total_minor=sum(line.total_minor for line in lines),
            hold_id=None,
        )

    def _line_count(self) -> int:
        return min(60, 1 + int(self.random.expovariate(1 / 8)))

    def _line(self, number: int) -> PurchaseLine:
        amount = self.random.randrange(50, 1500)
        discount = amount // 10 if self.random.random() < 0.3 else 0
        return PurchaseLine(
            line_no=number,
            product_id=str(820_000 + self.random.randrange(90_000)),
            category=self.random.choice(CATEGORIES),
            quantity="1",
            amount_minor=amount,
            discount_minor=discount,
            total_minor=amount - discount,
        )
