"""A chain of stores whose tills sell while things break; it remembers what must have come of it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from chassis.ids import new_id
from chassis.publishing import NotPublished, Publication, Publisher
from contracts.customers import Card
from contracts.fields import ean13_check_digit
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseLine, PurchaseReturned, ReturnedLine
from contracts.records import Record
from tests.infra import Kafka

CATEGORIES = ("BANANAS", "MILK", "BREAD", None)


class Customer(NamedTuple):
    """Somebody with one card or two: with two, their purchases are spread over partitions and meet on one account."""

    id: UUID
    cards: tuple[str, ...]


class Chain:
    """Everything is decided by the seed, except the ids: they are new in each run."""

    def __init__(self, kafka: Kafka, seed: int = 1, *, customers: int = 30, most_cards: int = 2) -> None:
        self.kafka = kafka
        self.random = random.Random(seed)
        self.now = datetime.now(UTC)
        self.customers = [self._customer(most_cards) for _ in range(customers)]
        self.receipts: set[str] = set()
        """Of every valid purchase that was published."""
        self.returns: set[str] = set()
        """Of every valid return; a cancellation by `cancelled:` and the receipt."""
        self._number = 0
        self._run = new_id().hex[-12:]

    def cards(self) -> list[Publication]:
        """Each customer's cards, as the customers service says them."""
        return [
            self.said(Card(card_number=card, customer_id=customer.id))
            for customer in self.customers
            for card in customer.cards
        ]

    def purchase(self, *, card: str | None = None, total_minor: int | None = None) -> PurchaseCompleted:
        """A receipt of two lines, not published and not remembered yet."""
        self._number += 1
        total_minor = self.random.randrange(2, 500_000) if total_minor is None else total_minor
        first = self.random.randrange(1, total_minor)
        return PurchaseCompleted(
            card_number=card or self.random.choice(self.random.choice(self.customers).cards),
            receipt_id=f"{self._run}-{self._number}",
            store_id="367",
            terminal_id="367-04",
            completed_at=self.now + timedelta(milliseconds=self._number),
            currency="RUB",
            lines=[self._line(1, first), self._line(2, total_minor - first)],
            total_minor=total_minor,
        )

    def sales(self, count: int) -> list[Publication]:
        """So many purchases, and what goes with them: returns, cancellations, records sent twice, receipts sent anew.

        One of each customer's receipts is returned in part or cancelled now and then; the bus and the till repeat
        themselves: the same event, or the same receipt under another event id.
        """
        publications = []
        for _ in range(count):
            purchase = self.purchase()
            self.receipts.add(purchase.receipt_id)
            sale = self.said(purchase)
            publications.append(sale)
            chance = self.random.random()
            if chance < 0.05:
                publications.append(sale)
            elif chance < 0.07:
                publications.append(self.said(purchase))
            elif chance < 0.11:
                publications.append(self.said(self._return(purchase)))
            elif chance < 0.12:
                publications.append(self.said(self._cancellation(purchase)))
        return publications

    def said(self, record: Record) -> Publication:
        """A publication under a new event id."""
        return Publication(record, new_id(), "/tills/367-04", self.now)

    async def publish(self, publications: Sequence[Publication]) -> None:
        """Publish them all, in order."""
        async with Publisher(self.kafka.bootstrap) as publisher:
            await _insist(publisher, publications)

    @contextlib.asynccontextmanager
    async def selling(self, *, per_s: int = 200) -> AsyncIterator[None]:
        """Sell at that pace for as long as the block runs."""
        selling = asyncio.create_task(self._sell(per_s))
        try:
            yield
        finally:
            self._closing_time.set()
            await selling

    async def _sell(self, per_s: int) -> None:
        self._closing_time = asyncio.Event()
        async with Publisher(self.kafka.bootstrap) as publisher:
            while not self._closing_time.is_set():
                await _insist(publisher, self.sales(max(1, per_s // 20)))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing_time.wait(), 0.05)

    def _customer(self, most_cards: int) -> Customer:
        cards = []
        for _ in range(self.random.randint(1, most_cards)):
            twelve = f"29{new_id().int % 10**10:010}"
            cards.append(twelve + ean13_check_digit(twelve))
        return Customer(new_id(), tuple(cards))

    def _line(self, number: int, total_minor: int) -> PurchaseLine:
        return PurchaseLine(
            line_no=number,
            product_id=f"p{number}",
            category=self.random.choice(CATEGORIES),
            quantity=str(number),
            amount_minor=total_minor,
            total_minor=total_minor,
        )

    def _return(self, purchase: PurchaseCompleted) -> PurchaseReturned:
        line = self.random.choice(purchase.lines)
        back = self.random.randint(1, line.total_minor)
        self.returns.add(f"back-{purchase.receipt_id}")
        return PurchaseReturned(
            card_number=purchase.card_number,
            return_id=f"back-{purchase.receipt_id}",
            receipt_id=purchase.receipt_id,
            store_id=purchase.store_id,
            terminal_id=purchase.terminal_id,
            returned_at=purchase.completed_at,
            currency=purchase.currency,
            lines=[ReturnedLine(line_no=line.line_no, quantity="1", total_minor=back)],
            total_minor=back,
        )

    def _cancellation(self, purchase: PurchaseCompleted) -> PurchaseCancelled:
        self.returns.add(f"cancelled:{purchase.receipt_id}")
        return PurchaseCancelled(
            card_number=purchase.card_number,
            receipt_id=purchase.receipt_id,
            store_id=purchase.store_id,
            terminal_id=purchase.terminal_id,
            cancelled_at=purchase.completed_at,
        )


async def _insist(publisher: Publisher, publications: Sequence[Publication]) -> None:
    """Publish as a till does: what may not be there is published again, with the same event ids."""
    while True:
        try:
            await publisher.publish_many(publications)
        except NotPublished:
            continue
        return
