"""What tills do: ask, hold points and let them go, complete purchases, take goods back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from chassis.transaction import Transaction
from services.loyalty import reserving
from services.loyalty.quotes import Basket
from tests.services.loyalty.machine.history import ANY_ONE, CARDS, KINDS, PLACES, SOMEBODY, STORES
from tests.services.loyalty.machine.staff import ByStaff
from tests.services.loyalty.model import holds
from tests.services.loyalty.model.book import Bought, Receipt
from tests.services.loyalty.world import came_back, cancelled, purchase

LINES = st.lists(st.one_of(st.integers(0, 3_000), st.integers(0, 100_000)), min_size=1, max_size=3)
DEAR_LINES = st.lists(st.integers(5_000, 30_000), min_size=1, max_size=3)
PARTS = st.sampled_from([0.1, 0.3, 0.7, 1, 1, 1.1])
LATER = st.sampled_from([0, 0, 0, 1, 30])
FEW = 50


class AtTills(ByStaff):
    @rule(lots=st.lists(st.tuples(SOMEBODY, LINES, LATER, STORES), min_size=1, max_size=4))
    def people_buy(self, lots: list[tuple[str, list[int], int, str]]) -> None:
        self.tick()
        self.complete(
            [
                Bought(self.name(), who, lines, self.book.now - timedelta(days=ago), store=store)
                for who, lines, ago, store in lots
            ]
        )

    @rule(who=SOMEBODY, lines=LINES, store=STORES, which=ANY_ONE, is_new=st.booleans())
    def a_till_asks(self, who: str, lines: list[int], store: str, which: int, is_new: bool) -> None:
        known = [*self.book.receipts, *self.to_come]
        name = self.name() if is_new or not known else known[which % len(known)]
        self.ask(name, who, lines, self.book.receipts[name].store if name in self.book.receipts else store)

    def ask(self, name: str, who: str, lines: list[int], store: str) -> None:
        self.tick()
        asked = purchase(CARDS[who], *lines, receipt=name)
        basket = Basket(name, CARDS[who], store, f"{store}-1", "RUB", asked.lines)

        async def ask(tx: Transaction) -> tuple[int, dict[str, tuple[int, int]]]:
            quote = await reserving.quote(tx, basket, CARDS[who])
            return quote.pricing.points, {e.account.kind: (e.most_points, e.most_minor) for e in quote.payable}

        self.same(ask, lambda: holds.quote(self.book, name, who, lines, store))
        if name in self.book.receipts:
            self.to_come.pop(name, None)

    @rule(who=SOMEBODY, place=PLACES, lines=DEAR_LINES, part=PARTS)
    def somebody_wants_to_pay_with_points(
        self, who: str, place: tuple[str, str], lines: list[int], part: float
    ) -> None:
        self.want_to_pay(who, place, lines, part)

    def want_to_pay(self, who: str, place: tuple[str, str], lines: list[int], part: float) -> Receipt | None:
        """The receipt, if points are held for it. Who has few is given some before."""
        (store, kind), name = place, self.name()
        account = self.book.opened_by(who).get(kind)
        if account is None or account.available < FEW:
            self.points_are_given(who, kind, FEW, None, None)
        self.ask(name, who, lines, store)
        receipt = self.book.receipts.get(name)
        if receipt is not None:
            self.hold(receipt, part, kind)
        return receipt if receipt is not None and receipt.state == "held" else None

    @rule(who=SOMEBODY, place=PLACES, lines=DEAR_LINES, part=PARTS, kept=st.sampled_from([1, 1, 0.3, 0.1, 0]))
    def somebody_pays_with_points(
        self, who: str, place: tuple[str, str], lines: list[int], part: float, kept: float
    ) -> None:
        receipt = self.want_to_pay(who, place, lines, part)
        if receipt is not None:
            self.tick()
            bought = [round(each * kept) for each in lines]
            self.complete([Bought(receipt.name, who, bought, self.book.now, len(self.holds) - 1, receipt.store)])

    @precondition(lambda self: self.open())
    @rule(which=ANY_ONE, part=PARTS, kind=KINDS)
    def points_are_held(self, which: int, part: float, kind: str) -> None:
        self.hold(self.open()[which % len(self.open())], part, kind)

    def hold(self, receipt: Receipt, part: float, kind: str) -> None:
        self.tick()
        account = self.book.opened_by(receipt.buyer).get(kind)
        points = max(1, round(holds.most(self.book, account, receipt.lines) * part)) if account else 1
        points = max(1, points - points % self.book.terms_now["payable_step_points"])

        async def hold(tx: Transaction) -> UUID:
            return (await reserving.reserve(tx, receipt.name, f"{receipt.store}-1", points, kind))[0].id

        held = self.same(hold, lambda: holds.hold(self.book, receipt.name, points, kind), equal=False)
        if held is not None:
            self.holds.append(held)

    @precondition(lambda self: self.open())
    @rule(which=ANY_ONE)
    def points_are_released(self, which: int) -> None:
        self.tick()
        receipt = self.open()[which % len(self.open())]

        async def release(tx: Transaction) -> None:
            await reserving.release(tx, receipt.name, f"{receipt.store}-1")

        self.same(release, lambda: holds.release(self.book, receipt.name), equal=False)

    @precondition(lambda self: self.open())
    @rule(
        which=st.lists(ANY_ONE, min_size=1, max_size=3),
        is_named=st.sampled_from([True, True, True, False]),
        is_smaller=st.sampled_from([False, False, False, True]),
        other=st.one_of(st.none(), st.none(), st.none(), SOMEBODY),
    )
    def what_was_asked_is_bought(self, which: list[int], is_named: bool, is_smaller: bool, other: str | None) -> None:
        self.tick()
        chosen = {each % len(self.open()): None for each in which}
        bought = []
        for receipt in [self.open()[each] for each in chosen]:
            placed = [no for no, hold in enumerate(self.book.holds) if hold.receipt == receipt.name]
            lines = [each // 2 for each in receipt.lines] if is_smaller else receipt.lines
            hold = placed[which[0] % len(placed)] if placed and is_named else None
            bought.append(Bought(receipt.name, other or receipt.buyer, lines, self.book.now, hold, receipt.store))
        self.complete(bought)

    @precondition(lambda self: self.sold)
    @rule(which=ANY_ONE, parts=st.lists(st.sampled_from([0, 0.1, 0.33, 0.5, 1, 1]), min_size=3, max_size=3))
    def goods_come_back(self, which: int, parts: list[float]) -> None:
        self.come_back(self.bought()[which % len(self.sold)], parts)

    def come_back(self, name: str, parts: list[float]) -> None:
        self.tick()
        receipt = self.book.receipts[name]
        left = [total - receipt.back.get(no, 0) for no, total in enumerate(receipt.lines, 1)]
        money = of_lines(left, parts)
        if money:
            self.comes_back(came_back(self.sold[name], money, returned_at=self.book.now))

    @precondition(lambda self: self.sold)
    @rule(which=ANY_ONE)
    def a_purchase_is_cancelled(self, which: int) -> None:
        self.tick()
        self.comes_back(cancelled(self.sold[self.bought()[which % len(self.sold)]]))

    @rule(
        who=SOMEBODY,
        lines=DEAR_LINES,
        store=STORES,
        which=ANY_ONE,
        is_new=st.booleans(),
        parts=st.one_of(st.none(), st.lists(st.sampled_from([0.2, 0.5, 0.7, 1]), min_size=1, max_size=3)),
    )
    def goods_come_back_before_their_purchase(
        self, who: str, lines: list[int], store: str, which: int, is_new: bool, parts: list[float] | None
    ) -> None:
        """Without parts the purchase is cancelled."""
        self.tick()
        known = [Bought(each.name, each.buyer, each.lines, self.book.now, store=each.store) for each in self.open()]
        known += self.to_come.values()
        if is_new or not known:
            name = self.name()
            self.to_come[name] = Bought(name, who, lines, self.book.now, store=store)
            known = [self.to_come[name]]
        bought = known[which % len(known)]
        of = self.said_by_till(bought)
        if parts is None:
            self.comes_back(cancelled(of))
        elif money := of_lines(bought.lines, parts):
            self.comes_back(came_back(of, money, returned_at=self.book.now))

    @precondition(lambda self: self.to_come)
    @rule(which=st.lists(ANY_ONE, min_size=1, max_size=3), is_shorter=st.sampled_from([False, False, True]))
    def what_came_back_was_bought(self, which: list[int], is_shorter: bool) -> None:
        self.tick()
        chosen = {each % len(self.to_come): None for each in which}
        bought = [list(self.to_come.values())[each] for each in chosen]
        self.complete([replace(each, lines=each.lines[:1]) for each in bought] if is_shorter else bought)


def of_lines(lines: Sequence[int], parts: Sequence[float]) -> dict[int, int]:
    """By line number, so much of each line as its part says; nothing of those of which none does."""
    return {no: round(total * part) for no, (total, part) in enumerate(zip(lines, parts, strict=False), 1) if part}
