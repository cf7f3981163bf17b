"""A small service that enters what it hears in a book, for the tests of delivery, worker and relay."""

from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import sqlalchemy as sa

from chassis.database import Database
from chassis.dead_letters import Cap
from chassis.delivery import Delivery
from chassis.hears import Hears
from chassis.ids import new_id
from chassis.tables import service_metadata
from chassis.transaction import Transaction
from contracts.feedback import AppealOpened
from contracts.purchases import PurchaseCancelled, PurchaseReturned

metadata = service_metadata()
book = sa.Table(
    "book",
    metadata,
    sa.Column("place", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("receipt_id", sa.Text, nullable=False),
    sa.Column("card_number", sa.Text),
    sa.Column("transaction", sa.Text, server_default=sa.text("pg_current_xact_id()::text")),
)
ENTER = "INSERT INTO book (receipt_id, card_number) SELECT * FROM unnest($1::text[], $2::text[])"


class BookService:
    """Enters cancellations (many at once) and returns (one at a time), and says one event for each.

    What happens to a record is in its receipt id: one that begins with `refused` is refused, any other can be made to
    fail by `fails`: it maps receipt ids to the errors of the next tries, `None` meaning a good one.
    """

    def __init__(self, database: Database, *, most_dead: int = 100) -> None:
        self.database = database
        self.hears = Hears()
        self.hears.many(PurchaseCancelled)(self.cancelled)
        self.hears(PurchaseReturned)(self.returned)
        self.calls: list[int] = []
        self.refuses = True
        self.fails: dict[str, list[Exception | None]] = {}
        self.delivery = Delivery("loyalty", self.hears, database, cap=Cap(most_dead, timedelta(minutes=10)))

    async def cancelled(self, events: Sequence[PurchaseCancelled], tx: Transaction) -> None:
        self.calls.append(len(events))
        good = []
        for event in events:
            if event.receipt_id.startswith("refused") and self.refuses:
                tx.refuse(event, "impossible", "receipt_id: this test refuses it")
            else:
                good.append(event)
        await self._enter(tx, good)

    async def returned(self, event: PurchaseReturned, tx: Transaction) -> None:
        self.calls.append(1)
        await self._enter(tx, [event])

    async def _enter(self, tx: Transaction, events: Sequence[PurchaseCancelled | PurchaseReturned]) -> None:
        await tx.sql(ENTER, [each.receipt_id for each in events], [each.card_number for each in events])
        for each in events:
            tx.say(AppealOpened(customer_id=new_id(), appeal_id=new_id(), opened_at=tx.now), cause=each)
        for each in events:
            errors = self.fails.get(each.receipt_id, [])
            if errors and (error := errors.pop(0)) is not None:
                raise error

    async def entered(self) -> list[str]:
        """The receipt ids in the book, in the order in which they were entered."""
        async with self.database.reading() as tx:
            return list((await tx.execute(sa.select(book.c.receipt_id).order_by(book.c.place))).scalars())

    async def dead(self) -> list[tuple[int, str]]:
        """Offset and reason of each dead letter."""
        async with self.database.reading() as tx:
            letters = await tx.sql('SELECT "offset" AS at, reason FROM dead_letters ORDER BY "offset"')
        return [(letter.at, letter.reason) for letter in letters]

    async def said(self) -> list[str]:
        """The topics of what waits in the outbox, in order."""
        async with self.database.reading() as tx:
            return [row.topic for row in await tx.sql("SELECT topic FROM outbox ORDER BY id")]


def for_ever(error: Exception) -> list[Exception | None]:
    """That error at every try."""
    return [error] * 100


def deadlock() -> Exception:
    """What PostgreSQL says to one of two transactions that wait for each other."""
    return asyncpg.DeadlockDetectedError("deadlock detected")
