"""A history in the making: the service on its database beside the model, and how both are made to do the same."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from chassis.actor import Actor
from chassis.database import Database
from chassis.envelope import Heard
from chassis.jobs import Piece
from chassis.problems import Problem
from chassis.settings import Settings
from chassis.transaction import Transaction
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.records import Record
from services.loyalty.tables import metadata
from tests.emptying import emptying
from tests.off_the_bus import came
from tests.services.loyalty.model.book import Book, Bought, Receipt, Refused, Return
from tests.services.loyalty.model.purchases import buy
from tests.services.loyalty.model.returns import come_back
from tests.services.loyalty.world import NOW, Loyalty, card, purchase

T = TypeVar("T")
PEOPLE = ("olga", "ivan", "anna")
CARDS = {person: card() for person in PEOPLE}
OLGA = Actor("operator", "olga")
SOMEBODY = st.sampled_from(PEOPLE)
STORES = st.sampled_from(["367", "500"])
"""The second one is a filling station, whose purchases may earn on accounts of their own."""
KINDS = st.sampled_from(["main", "fuel"])
PLACES = st.sampled_from([("367", "main"), ("500", "fuel"), ("500", "main")])
"""A store, and the kind of account that is good there."""
ANY_ONE = st.one_of(st.integers(0, 2), st.integers(0, 999))
"""Which of those that there are."""


class World:
    """The service on its database, and the loop in which it lives."""

    def __init__(self, migrated: Settings, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.settings = migrated
        self.loyalty = runner.run(self._open())
        self.told: Counter[str] = Counter()

    async def _open(self) -> Loyalty:
        loyalty = Loyalty(self.settings)
        await loyalty.rows(f"ALTER DATABASE {loyalty.database.url.database} SET synchronous_commit = off")
        await loyalty.close()
        return Loyalty(self.settings)

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(what)

    async def empty(self) -> None:
        await self.loyalty.rows(str(emptying(metadata, kept=["terms"])))
        await self.loyalty.rows("DELETE FROM terms WHERE set_by <> 'migration'")


class History(RuleBasedStateMachine):
    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.loyalty = self.world.loyalty
        self.book = Book(PEOPLE, NOW)
        self.loyalty.use_clock(lambda: self.book.now)
        self.ids: dict[str, UUID] = {}
        self.sold: dict[str, PurchaseCompleted] = {}
        self.to_come: dict[str, Bought] = {}
        """Purchases of which something came back and that no till has told of."""
        self.holds: list[UUID] = []
        self.by_hand: list[UUID] = []
        self.heard: list[Heard] = []
        self.refusals: list[str] = []
        self.numbers = iter(range(1, 10**6))

    def tick(self, more: timedelta = timedelta()) -> None:
        """No two things happen at one moment."""
        self.book.now += timedelta(seconds=1) + more
        self.world.told["steps"] += 1

    def name(self) -> str:
        return f"r{next(self.numbers)}"

    def open(self) -> list[Receipt]:
        """Those for which points are held before the others."""
        found = [each for each in self.book.receipts.values() if not each.is_complete]
        return sorted(found, key=lambda each: each.state != "held")

    def bought(self) -> list[str]:
        """Those that were paid with points before the others, of both those that can come back before the others."""
        receipts = [self.book.receipts[name] for name in self.sold]
        return [each.name for each in sorted(receipts, key=lambda each: (each.state == "cancelled", not each.payment))]

    def same(
        self, what: Callable[[Transaction], Coroutine[Any, Any, T]], told: Callable[[], object], *, equal: bool = True
    ) -> T | None:
        """Both do it, or both refuse for the same reason."""
        found: object = None
        done: T | None = None
        try:
            done = self.world.run(self._transact(what))
        except Problem as problem:
            found = problem.code
        try:
            expected, why = told(), None
        except Refused as refused:
            expected, why = None, str(refused)
        assert found == why
        assert not equal or done == expected
        return done

    def complete(self, bought: Sequence[Bought], *, after: Sequence[PurchaseReturned | PurchaseCancelled] = ()) -> None:
        """One batch; `after`: what comes back before, in the same one."""
        records = [self.said_by_till(each) for each in bought]

        def told() -> list[str]:
            for each in after:
                come_back(self.book, self.return_of(each))
            return buy(self.book, bought)

        self.hear([*after, *records], told)
        for each in records:
            self.sold[each.receipt_id] = each
            self.to_come.pop(each.receipt_id, None)

    def said_by_till(self, bought: Bought) -> PurchaseCompleted:
        hold_id = None if bought.hold is None else self.holds[bought.hold]
        return purchase(
            CARDS[bought.buyer],
            *bought.lines,
            receipt=bought.receipt,
            completed_at=bought.at,
            hold_id=hold_id,
            store_id=bought.store,
            terminal_id=f"{bought.store}-1",
        )

    def comes_back(self, record: PurchaseReturned | PurchaseCancelled) -> None:
        self.hear([record], lambda: come_back(self.book, self.return_of(record)))

    def is_done(self, record: PurchaseReturned | PurchaseCancelled) -> bool:
        return self.book.is_carried_out(self.return_of(record))

    def return_of(self, record: PurchaseReturned | PurchaseCancelled) -> Return:
        if isinstance(record, PurchaseCancelled):
            return Return("cancellation", record.receipt_id, None)
        return Return(record.return_id, record.receipt_id, {each.line_no: each.total_minor for each in record.lines})

    def hear(self, records: Sequence[Record], told: Callable[[], Sequence[str] | None]) -> None:
        """One batch: all of it is refused, or nothing but what waited for it; what was not may come again."""
        heard = [came(each, self.book.now) for each in records]
        refused = self.world.run(self.tell(heard))
        try:
            expected = list(told() or ())
        except Refused as why:
            expected = [str(why)]
        else:
            self.heard += heard
        assert refused == expected
        self.refusals += refused

    async def tell(self, heard: Sequence[Heard]) -> list[str]:
        """Gives the reasons of those that were refused."""
        await self.loyalty.hear(*heard)
        return (await self.loyalty.refused())[len(self.refusals) :]

    def job(self, piece: Piece, told: Callable[[Book], Sequence[str] | None]) -> None:
        async def run(database: Database) -> None:
            async with database.transaction() as tx:
                await piece(tx)

        self.world.run(run(self.loyalty.database))
        self.refusals += told(self.book) or ()

    async def _transact(self, what: Callable[[Transaction], Coroutine[Any, Any, T]]) -> T:
        async with self.loyalty.database.transaction() as tx:
            return await what(tx)
