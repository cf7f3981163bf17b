"""Any history of purchases, holds, returns, merges and the clock: the ledger is the one that the promises make."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chassis.actor import Actor
from chassis.database import Database
from chassis.envelope import Heard
from chassis.jobs import Piece
from chassis.problems import Problem
from chassis.settings import Settings
from chassis.transaction import Transaction
from contracts.customers import CustomerBlocked, CustomersMerged, CustomersUnmerged, CustomerUnblocked
from contracts.loyalty import (
    OperationReversed,
    PointsAccrued,
    PointsAdjusted,
    PointsExpired,
    PointsMoved,
    PointsRedeemed,
    PointsRefunded,
    PointsReturned,
)
from contracts.purchases import PurchaseCompleted
from contracts.records import Record
from services.loyalty import by_hand, families, reserving
from services.loyalty.activation import activate_due_lots
from services.loyalty.by_hand import Adjustment, Why
from services.loyalty.expiry import expire_due_lots
from services.loyalty.holds import release_timed_out
from services.loyalty.quotes import Basket, abandon_stale
from services.loyalty.tables import metadata
from tests.emptying import emptying
from tests.off_the_bus import came
from tests.services.loyalty.ledger_model import TERMS, Account, Bought, Ledger, Lot, Receipt, Refused
from tests.services.loyalty.world import NOW, Loyalty, came_back, cancelled, card, purchase

T = TypeVar("T")
PEOPLE = ("olga", "ivan", "anna")
CARDS = {person: card() for person in PEOPLE}
HISTORIES, STEPS = 100, 50
"""A minute of one core. `HYPOTHESIS_PROFILE=long` tells others each time, and more."""
OF_OPERATIONS = (
    OperationReversed,
    PointsAccrued,
    PointsAdjusted,
    PointsExpired,
    PointsMoved,
    PointsRedeemed,
    PointsRefunded,
    PointsReturned,
)
OLGA = Actor("operator", "olga")
WHY = Why(OLGA, "complaint", None)
ACCOUNTS = """
SELECT customer_id, balance, pending, held, debt, spent_minor, (SELECT count(*) FROM dead_letters) AS dead FROM accounts
"""
HAPPENED = """
SELECT type AS what, count(*) AS times FROM operations GROUP BY 1
UNION ALL SELECT state, count(*) FROM holds GROUP BY 1
UNION ALL SELECT type || ' pays', count(*) FROM debts JOIN operations ON id = operation_id WHERE debts.points < 0
    GROUP BY 1
UNION ALL SELECT 'late', count(*) FROM holds WHERE missing > 0
UNION ALL SELECT 'smaller', count(*) FROM holds JOIN purchases USING (receipt_id)
    WHERE holds.state = 'captured' AND points_paid + missing < holds.points
"""
SEEN = (
    "captured",
    "smaller",
    "late",
    "return",
    "cancellation",
    "expiry",
    "unmerge",
    "refund",
    "reversal",
    "purchase pays",
    "refund pays",
    "reversal pays",
)
LOTS = """
SELECT customer_id, operation_id, remaining, lots.held, lots.pending, activates_at, expires_at
FROM lots JOIN accounts ON accounts.id = account_id ORDER BY operation_id
"""
SOMEBODY = st.sampled_from(PEOPLE)
ANY_ONE = st.one_of(st.integers(0, 2), st.integers(0, 999))
"""Which of those that there are."""
LINES = st.lists(st.one_of(st.integers(0, 3_000), st.integers(0, 100_000)), min_size=1, max_size=3)
DEAR_LINES = st.lists(st.integers(5_000, 30_000), min_size=1, max_size=3)
PARTS = st.sampled_from([0.1, 0.3, 0.7, 1, 1, 1.1])
LATER = st.sampled_from([0, 0, 0, 1, 30])
PROMISES = {
    "rounding": st.sampled_from(["down", "up", "half_even"]),
    "rounded_per": st.sampled_from(["receipt", "line"]),
    "earns_on_part_paid_with_points": st.booleans(),
    "not_earning": st.sampled_from([{"products": []}, {"products": ["p2"]}]),
    "not_payable": st.sampled_from([{"products": []}, {"products": ["p1"]}]),
    "payable_share": st.sampled_from([10_000, 5_000, 3_333]),
    "payable_step_points": st.sampled_from([1, 1, 5]),
    "activates_after_h": st.sampled_from([0, 0, 36]),
    "lot_life_days": st.sampled_from([40, 365, None]),
    "lots_live_on_with_activity": st.booleans(),
    "lots_age_while_frozen": st.booleans(),
    "returned_but_spent": st.sampled_from(["debt", "other_lots", "debt", "write_off"]),
    "refund_revives_days": st.sampled_from([30, None]),
}


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


class EveryHistory(RuleBasedStateMachine):
    """Each rule does the same to the service and to the model; after each step they are compared."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.loyalty = self.world.loyalty
        self.model = Ledger(PEOPLE, NOW)
        self.loyalty.use_clock(lambda: self.model.now)
        self.ids: dict[str, UUID] = {}
        self.sold: dict[str, PurchaseCompleted] = {}
        self.holds: list[UUID] = []
        self.by_hand: list[UUID] = []
        self.heard: list[Heard] = []
        self.refusals: list[str] = []
        self.numbers = iter(range(1, 10**6))

    @initialize(promises=st.fixed_dictionaries(PROMISES), gifts=st.lists(st.integers(1, 300), min_size=4, max_size=4))
    def begin(self, promises: dict[str, Any], gifts: list[int]) -> None:
        async def begin() -> None:
            await self.world.empty()
            await self.loyalty.set_terms(**TERMS | promises)
            self.ids = {person: await self.loyalty.knows(CARDS[person]) for person in PEOPLE}

        self.world.run(begin())
        self.model.promise(datetime.min.replace(tzinfo=NOW.tzinfo), promises)
        for number, points in enumerate(gifts):
            self.points_are_given(PEOPLE[number // 2], points, None, 20 * (number % 2) or None)

    # --- tills ---

    @rule(lots=st.lists(st.tuples(SOMEBODY, LINES, LATER), min_size=1, max_size=4))
    def people_buy(self, lots: list[tuple[str, list[int], int]]) -> None:
        self.tick()
        self.complete(
            [Bought(self.name(), who, lines, self.model.now - timedelta(days=ago)) for who, lines, ago in lots]
        )

    @rule(who=SOMEBODY, lines=LINES, which=ANY_ONE, is_new=st.booleans())
    def a_till_asks(self, who: str, lines: list[int], which: int, is_new: bool) -> None:
        self.tick()
        known = list(self.model.receipts)
        name = self.name() if is_new or not known else known[which % len(known)]
        asked = purchase(CARDS[who], *lines, receipt=name)
        basket = Basket(name, CARDS[who], "367", "367-1", "RUB", asked.lines)

        async def ask(tx: Transaction) -> int:
            quote = await reserving.quote(tx, basket, CARDS[who])
            return sum(each.most_points for each in quote.payable)

        self.same(self.transact(ask), lambda: self.model.quote(name, who, lines))

    @rule(who=SOMEBODY, lines=DEAR_LINES, part=PARTS)
    def somebody_wants_to_pay_with_points(self, who: str, lines: list[int], part: float) -> None:
        self.a_till_asks(who, lines, 0, is_new=True)
        self.hold(list(self.model.receipts.values())[-1], part)

    @rule(who=SOMEBODY, lines=DEAR_LINES, part=PARTS, kept=st.sampled_from([1, 1, 0.3, 0.1, 0]))
    def somebody_pays_with_points(self, who: str, lines: list[int], part: float, kept: float) -> None:
        self.somebody_wants_to_pay_with_points(who, lines, part)
        receipt = list(self.model.receipts.values())[-1]
        if receipt.state == "held":
            self.tick()
            bought = [round(each * kept) for each in lines]
            self.complete([Bought(receipt.name, who, bought, self.model.now, len(self.holds) - 1)])

    @precondition(lambda self: self.open())
    @rule(which=ANY_ONE, part=PARTS)
    def points_are_held(self, which: int, part: float) -> None:
        self.hold(self.open()[which % len(self.open())], part)

    def hold(self, receipt: Receipt, part: float) -> None:
        self.tick()
        points = max(1, round(self.model.most(self.model.opened_by(receipt.buyer), receipt.lines) * part))
        points = max(1, points - points % self.model.terms_now["payable_step_points"])

        async def hold(tx: Transaction) -> UUID:
            return (await reserving.reserve(tx, receipt.name, "367-1", points))[0].id

        held = self.same(self.transact(hold), lambda: self.model.hold(receipt.name, points), equal=False)
        if held is not None:
            self.holds.append(held)

    @precondition(lambda self: self.open())
    @rule(which=ANY_ONE)
    def points_are_released(self, which: int) -> None:
        self.tick()
        receipt = self.open()[which % len(self.open())]

        async def release(tx: Transaction) -> None:
            await reserving.release(tx, receipt.name, "367-1")

        self.same(self.transact(release), lambda: self.model.release(receipt.name), equal=False)

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
            holds = [no for no, hold in enumerate(self.model.holds) if hold.receipt == receipt.name]
            lines = [each // 2 for each in receipt.lines] if is_smaller else receipt.lines
            hold = holds[which[0] % len(holds)] if holds and is_named else None
            bought.append(Bought(receipt.name, other or receipt.buyer, lines, self.model.now, hold))
        self.complete(bought)

    @precondition(lambda self: self.sold)
    @rule(which=ANY_ONE, parts=st.lists(st.sampled_from([0, 0.1, 0.33, 0.5, 1, 1]), min_size=3, max_size=3))
    def goods_come_back(self, which: int, parts: list[float]) -> None:
        self.come_back(self.bought()[which % len(self.sold)], parts)

    def come_back(self, name: str, parts: list[float]) -> None:
        self.tick()
        receipt = self.model.receipts[name]
        left = {no: total - receipt.back.get(no, 0) for no, total in enumerate(receipt.lines, 1)}
        money = {no: round(left[no] * part) for no, part in zip(left, parts, strict=False) if part}
        if money:
            returned = came_back(self.sold[name], money, returned_at=self.model.now)
            self.hear([returned], lambda: self.model.give_back(name, money))

    @precondition(lambda self: self.sold)
    @rule(which=ANY_ONE)
    def a_purchase_is_cancelled(self, which: int) -> None:
        self.tick()
        name = self.bought()[which % len(self.sold)]
        if self.model.receipts[name].state != "cancelled":
            self.hear([cancelled(self.sold[name])], lambda: self.model.give_back(name, None))

    @rule(
        who=SOMEBODY,
        lines=DEAR_LINES,
        part=st.sampled_from([0.5, 1, 1]),
        back=st.sampled_from([0.5, 1]),
        given=st.sampled_from([0, 9, 300]),
    )
    def what_was_earned_is_spent_and_the_goods_come_back(
        self, who: str, lines: list[int], part: float, back: float, given: int
    ) -> None:
        self.people_buy([(who, lines, 0)])
        name = list(self.sold)[-1]
        self.points_are_taken(who, part)
        self.come_back(name, [back] * 3)
        if given:
            self.points_are_given(who, given, None, None)

    @rule(who=SOMEBODY, lines=DEAR_LINES, parts=st.lists(st.sampled_from([0.4, 1]), min_size=1, max_size=2))
    def points_come_back_to_who_owes(self, who: str, lines: list[int], parts: list[float]) -> None:
        self.points_are_taken(who, 0.3)
        taken = len(self.by_hand) - 1
        self.somebody_pays_with_points(who, lines, 1, 1)
        paid = list(self.model.receipts.values())[-1]
        self.what_was_earned_is_spent_and_the_goods_come_back(who, lines, 1, 1, 0)
        for part in parts:
            if paid.name in self.sold:
                self.come_back(paid.name, [part] * 3)
            if taken >= 0:
                self.it_is_reversed(taken, part)

    @rule(
        who=SOMEBODY,
        lines=DEAR_LINES,
        part=PARTS,
        spent=st.sampled_from([0, 0.5, 1]),
        is_job_late=st.booleans(),
        is_blocked=st.sampled_from([False, False, True]),
    )
    def a_till_is_late(
        self, who: str, lines: list[int], part: float, spent: float, is_job_late: bool, is_blocked: bool
    ) -> None:
        self.somebody_wants_to_pay_with_points(who, lines, part)
        receipt = list(self.model.receipts.values())[-1]
        if receipt.state != "held":
            return
        if is_job_late:
            self.lots_end(days=20)
        else:
            self.holds_time_out(minutes=16)
        if spent:
            self.points_are_taken(who, spent)
        if is_blocked and not any(each.frozen_at for each in self.model.accounts.values()):
            self.somebody_is_blocked(who)
        self.tick()
        self.complete([Bought(receipt.name, who, lines, self.model.now, len(self.holds) - 1)])

    # --- by hand ---

    @rule(
        who=SOMEBODY,
        points=st.integers(1, 300),
        wait=st.sampled_from([None, None, 5]),
        life=st.sampled_from([None, 20]),
    )
    def points_are_given(self, who: str, points: int, wait: int | None, life: int | None) -> None:
        self.tick()
        activates_at = None if wait is None else self.model.now + timedelta(hours=wait)
        expires_at = None if life is None else self.model.now + timedelta(days=life)
        asked = Adjustment(points, activates_at=activates_at, expires_at=expires_at)
        self.adjust(who, asked, lambda: self.model.give(who, points, activates_at, expires_at))

    @rule(who=SOMEBODY, part=st.sampled_from([0.2, 0.6, 1, 1.2]))
    def points_are_taken(self, who: str, part: float) -> None:
        self.tick()
        points = max(1, round(self.model.opened_by(who).available * part))
        self.adjust(who, Adjustment(-points), lambda: self.model.take(who, points))

    @precondition(lambda self: self.by_hand)
    @rule(which=ANY_ONE, part=st.sampled_from([None, None, 0.3, 0.5]))
    def it_is_reversed(self, which: int, part: float | None) -> None:
        self.tick()
        index = which % len(self.by_hand)
        points = None if part is None else max(1, round(abs(self.model.by_hand[index].points) * part))

        async def reverse(tx: Transaction) -> None:
            await by_hand.reverse(tx, self.by_hand[index], points, WHY)

        self.same(self.transact(reverse), lambda: self.model.reverse(index, points), equal=False)

    # --- the clock ---

    @rule(minutes=st.sampled_from([1, 16, 16, 60, 36 * 60, 8 * 24 * 60, 40 * 24 * 60]))
    def time_passes(self, minutes: int) -> None:
        self.tick(timedelta(minutes=minutes))

    @rule(minutes=st.sampled_from([0, 16]))
    def holds_time_out(self, minutes: int) -> None:
        self.tick(timedelta(minutes=minutes))
        self.job(release_timed_out, self.model.time_out)

    @rule()
    def quotes_are_abandoned(self) -> None:
        self.tick()
        self.job(abandon_stale, self.model.abandon)

    @rule(hours=st.sampled_from([0, 36]))
    def lots_are_activated(self, hours: int) -> None:
        self.tick(timedelta(hours=hours))
        self.job(activate_due_lots, self.model.activate)

    @rule(days=st.sampled_from([0, 20]))
    def lots_end(self, days: int) -> None:
        self.tick(timedelta(days=days))
        self.job(expire_due_lots, self.model.expire)

    @rule(promise=st.sampled_from(sorted(PROMISES)).flatmap(lambda term: st.tuples(st.just(term), PROMISES[term])))
    def something_else_is_promised(self, promise: tuple[str, Any]) -> None:
        self.tick()
        terms = dict([promise])
        self.world.run(self.loyalty.set_terms(since=self.model.now, **terms))
        self.model.promise(self.model.now, terms)

    # --- people ---

    @precondition(lambda self: not any(each.frozen_at for each in self.model.accounts.values()))
    @rule(who=SOMEBODY)
    def somebody_is_blocked(self, who: str) -> None:
        self.tick()
        event = CustomerBlocked(customer_id=self.ids[who], blocked_at=self.model.now, reason="suspected_fraud")
        self.hear([event], lambda: self.model.freeze(who))

    @precondition(lambda self: any(each.frozen_at for each in self.model.accounts.values()))
    @rule(which=ANY_ONE, days=st.sampled_from([0, 10]))
    def somebody_is_unblocked(self, which: int, days: int) -> None:
        self.tick(timedelta(days=days))
        blocked = [person for person, account in self.model.accounts.items() if account.frozen_at]
        who = blocked[which % len(blocked)]
        event = CustomerUnblocked(customer_id=self.ids[who], unblocked_at=self.model.now)
        self.hear([event], lambda: self.model.unfreeze(who))

    @rule(who=SOMEBODY, holder=SOMEBODY)
    def somebody_joins_a_family(self, who: str, holder: str) -> None:
        self.tick()

        async def join(tx: Transaction) -> None:
            await families.join(tx, self.ids[who], self.ids[holder], OLGA)

        self.same(self.transact(join), lambda: self.model.join(who, holder), equal=False)

    @precondition(lambda self: self.model.members)
    @rule(which=ANY_ONE)
    def somebody_leaves_a_family(self, which: int) -> None:
        self.tick()
        who, (holder, _) = list(self.model.members.items())[which % len(self.model.members)]

        async def leave(tx: Transaction) -> None:
            await families.leave(tx, self.ids[who], self.ids[holder], OLGA)

        self.same(self.transact(leave), lambda: self.model.leave(who, holder), equal=False)

    @precondition(lambda self: len(self.model.merges) < 2)
    @rule(survivor=SOMEBODY, merged=SOMEBODY)
    def customers_are_merged(self, survivor: str, merged: str) -> None:
        self.tick()
        if survivor == merged or merged in self.model.merges:
            return
        event = CustomersMerged(customer_id=self.ids[survivor], merged_id=self.ids[merged], merged_at=self.model.now)
        self.hear([event], lambda: self.model.merge(survivor, merged))

    @precondition(lambda self: self.model.merges)
    @rule(which=ANY_ONE)
    def a_merge_is_undone(self, which: int) -> None:
        self.tick()
        merged, done = list(self.model.merges.items())[which % len(self.model.merges)]
        event = CustomersUnmerged(
            customer_id=self.ids[done.survivor], merged_id=self.ids[merged], unmerged_at=self.model.now
        )
        own, into = self.model.accounts[merged], done.into
        before = [own.balance + into.balance, own.debt + into.debt, own.spent + into.spent]
        refused = self.world.run(self.tell([event]))
        if refused == ["merge_spent"] and (into.debt or not done.is_plain):
            self.refusals += refused
            return
        back = None
        expected: list[str] = []
        try:
            back = self.model.unmerge(done.survivor, merged)
        except Refused as why:
            expected = [str(why)]
        assert refused == expected
        self.refusals += refused
        if refused:
            return
        self.world.run(self.adopt(own, into))
        assert [own.balance + into.balance, own.debt + into.debt, own.spent + into.spent] == before
        assert own.spent == done.spent
        if back is not None:
            assert own.balance == back

    # --- what comes again ---

    @precondition(lambda self: self.heard)
    @rule(which=st.lists(ANY_ONE, min_size=1, max_size=6), is_same_event=st.booleans())
    def it_comes_again(self, which: list[int], is_same_event: bool) -> None:
        self.tick()
        again = [self.heard[each % len(self.heard)] for each in which]
        if not is_same_event:
            again = [came(each.record, self.model.now) for each in again]
        self.world.run(self.loyalty.hear(*again))

    # --- what is compared ---

    @invariant()
    def they_are_the_same(self) -> None:
        if self.ids:
            self.world.run(self.compare())

    def teardown(self) -> None:
        if self.ids:
            self.world.run(self.prove())

    async def compare(self) -> None:
        people = {customer_id: person for person, customer_id in self.ids.items()}
        rows = await self.loyalty.rows(ACCOUNTS)
        found = {people[row.customer_id]: tuple(row)[1:6] for row in rows}
        expected = {
            person: (each.balance, each.pending, each.held, each.debt, each.spent)
            for person, each in self.model.accounts.items()
        }
        assert found == expected
        assert rows[0].dead == len(self.refusals), await self.loyalty.refused()
        kept = await self.loyalty.rows(LOTS)
        numbers = {each: number for number, each in enumerate(sorted({row.operation_id for row in kept}), 1)}
        assert len(numbers) == self.model.lots_made
        there = {
            (people[row.customer_id], numbers[row.operation_id]): (row.remaining, row.held, row.pending, row.expires_at)
            for row in kept
            if row.remaining
        }
        meant = {
            (person, lot.number): (lot.remaining, lot.held, lot.pending, lot.expires_at)
            for person, account in self.model.accounts.items()
            for lot in account.lots.values()
            if lot.remaining
        }
        assert there == meant

    async def adopt(self, *accounts: Account) -> None:
        """The lots, debts and money spent of these accounts are what the service says."""
        kept = await self.loyalty.rows(LOTS)
        numbers = {each: number for number, each in enumerate(sorted({row.operation_id for row in kept}), 1)}
        for account in accounts:
            for row in kept:
                if row.customer_id != self.ids[account.owner]:
                    continue
                number = numbers[row.operation_id]
                lot = account.lots.setdefault(number, Lot(number, 0, row.expires_at, row.activates_at))
                lot.remaining, lot.held, lot.pending = row.remaining, row.held, row.pending
                lot.expires_at = row.expires_at
        for row in await self.loyalty.rows(ACCOUNTS):
            for account in accounts:
                if row.customer_id == self.ids[account.owner]:
                    account.debt, account.spent = row.debt, row.spent_minor

    async def prove(self) -> None:
        assert await self.loyalty.differences() == []
        assert await self.loyalty.refused() == self.refusals
        told = Counter(each.operation_id for each in await self.loyalty.said(Record) if isinstance(each, OF_OPERATIONS))
        operations = {row.id for row in await self.loyalty.rows("SELECT id FROM operations")}
        assert told == Counter(operations)
        self.world.told["examples"] += 1
        for row in await self.loyalty.rows(HAPPENED):
            self.world.told[row.what] += row.times
        self.world.told.update(self.refusals)

    # --- doing the same to both ---

    def tick(self, more: timedelta = timedelta()) -> None:
        """No two things happen at one moment."""
        self.model.now += timedelta(seconds=1) + more
        self.world.told["steps"] += 1

    def name(self) -> str:
        return f"r{next(self.numbers)}"

    def open(self) -> list[Receipt]:
        """Those for which points are held before the others."""
        found = [each for each in self.model.receipts.values() if not each.is_complete]
        return sorted(found, key=lambda each: each.state != "held")

    def bought(self) -> list[str]:
        """Those that were paid with points before the others, of both those that can come back before the others."""
        receipts = [self.model.receipts[name] for name in self.sold]
        return [each.name for each in sorted(receipts, key=lambda each: (each.state == "cancelled", not each.payment))]

    def transact(self, what: Callable[[Transaction], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]:
        async def transact() -> T:
            async with self.loyalty.database.transaction() as tx:
                return await what(tx)

        return transact()

    def same(self, real: Coroutine[Any, Any, T], told: Callable[[], object], *, equal: bool = True) -> T | None:
        """Both do it, or both refuse for the same reason."""
        found: object = None
        done: T | None = None
        try:
            done = self.world.run(real)
        except Problem as problem:
            found = problem.code
        try:
            expected, why = told(), None
        except Refused as refused:
            expected, why = None, str(refused)
        assert found == why
        assert not equal or done == expected
        return done

    def adjust(self, who: str, asked: Adjustment, told: Callable[[], None]) -> None:
        async def adjust(tx: Transaction) -> UUID:
            return (await by_hand.adjust(tx, self.ids[who], asked, WHY)).id

        done = self.same(self.transact(adjust), told, equal=False)
        if done is not None:
            self.by_hand.append(done)

    def complete(self, bought: Sequence[Bought]) -> None:
        records = []
        for each in bought:
            hold_id = None if each.hold is None else self.holds[each.hold]
            records.append(
                purchase(CARDS[each.buyer], *each.lines, receipt=each.receipt, completed_at=each.at, hold_id=hold_id)
            )
        self.hear(records, lambda: self.model.buy(bought))
        self.sold |= {each.receipt_id: each for each in records}

    def hear(self, records: Sequence[Record], told: Callable[[], None]) -> None:
        refused = self.world.run(self.tell(records))
        try:
            told()
        except Refused as why:
            assert refused == [str(why)]
        else:
            assert refused == []
        self.refusals += refused

    async def tell(self, records: Sequence[Record]) -> list[str]:
        """One batch; gives the reasons of those that were refused. The others may come again."""
        heard = [came(each, self.model.now) for each in records]
        await self.loyalty.hear(*heard)
        refused = (await self.loyalty.refused())[len(self.refusals) :]
        if not refused:
            self.heard += heard
        return refused

    def job(self, piece: Piece, told: Callable[[], None]) -> None:
        async def run(database: Database) -> None:
            async with database.transaction() as tx:
                await piece(tx)

        self.world.run(run(self.loyalty.database))
        told()


@pytest.fixture(scope="module")
def world(migrated: Settings) -> Iterator[World]:
    with asyncio.Runner() as runner:
        world = World(migrated, runner)
        yield world
        runner.run(world.empty())
        runner.run(world.loyalty.close())


def test_any_history_makes_the_ledger_that_is_promised(world: World) -> None:
    EveryHistory.world = world
    profile = settings.default
    assert profile is not None
    is_long = profile.max_examples > HISTORIES
    run_state_machine_as_test(
        EveryHistory,
        settings=settings(
            profile,
            max_examples=profile.max_examples if is_long else HISTORIES,
            stateful_step_count=STEPS,
            derandomize=not is_long,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert world.told["steps"] >= 2_000, world.told
    for happened in SEEN:
        assert world.told[happened] > 0, world.told
