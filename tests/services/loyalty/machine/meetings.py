"""Several things that seldom meet by chance."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from contracts.purchases import PurchaseCancelled, PurchaseReturned
from services.loyalty.verdicts import Verdict
from tests.services.loyalty.machine.clock import WithTime
from tests.services.loyalty.machine.history import PLACES, SOMEBODY
from tests.services.loyalty.machine.people import OfPeople
from tests.services.loyalty.machine.staff import LARGE
from tests.services.loyalty.machine.tills import DEAR_LINES, FEW, PARTS, AtTills, of_lines
from tests.services.loyalty.model.book import Bought
from tests.services.loyalty.model.promises import earning_kind
from tests.services.loyalty.world import came_back, cancelled


class Meetings(AtTills, WithTime, OfPeople):
    @rule(
        who=SOMEBODY,
        survivor=SOMEBODY,
        place=PLACES,
        lines=DEAR_LINES,
        is_hard=st.booleans(),
        before=st.sampled_from([0, 0.3]),
        after=st.sampled_from([0.3, 0.7]),
        verdict=st.sampled_from(["approved", "rejected"]),
    )
    def a_large_purchase_is_looked_into(
        self,
        who: str,
        survivor: str,
        place: tuple[str, str],
        lines: list[int],
        is_hard: bool,
        before: float,
        after: float,
        verdict: Verdict,
    ) -> None:
        """By then the customer may be part of another one; then they are two again."""
        self.promise({"limits": [LARGE | {"hard": is_hard}]})
        self.people_buy([(who, [60_000, *lines], 0, place[0])])
        name, was_merged = list(self.sold)[-1], who in self.book.merges
        self.come_back(name, [before] * 2)
        self.customers_are_merged(survivor, who)
        self.look_into(len(self.book.reviews) - 1, verdict)
        self.come_back(name, [after] * 4)
        if who in self.book.merges and not was_merged:
            self.a_merge_is_undone(list(self.book.merges).index(who))

    @rule(
        survivor=SOMEBODY,
        merged=SOMEBODY,
        place=PLACES,
        lines=DEAR_LINES,
        back=st.sampled_from([0, 0.3, 1]),
        spent=st.sampled_from([0, 0.2, 0.6]),
    )
    def two_are_one_for_a_while(
        self, survivor: str, merged: str, place: tuple[str, str], lines: list[int], back: float, spent: float
    ) -> None:
        if merged in self.book.merges:
            return
        self.people_buy([(merged, lines, 0, place[0])])
        name = list(self.sold)[-1]
        self.customers_are_merged(survivor, merged)
        if merged in self.book.merges:
            self.come_back(name, [back] * 3)
            if spent:
                self.points_are_taken(survivor, place[1], spent)
            self.a_merge_is_undone(list(self.book.merges).index(merged))

    @rule(
        who=SOMEBODY,
        place=PLACES,
        lines=DEAR_LINES,
        part=st.sampled_from([0.5, 1, 1]),
        back=st.sampled_from([0.5, 1]),
        given=st.sampled_from([0, 9, 300]),
    )
    def what_was_earned_is_spent_and_the_goods_come_back(
        self, who: str, place: tuple[str, str], lines: list[int], part: float, back: float, given: int
    ) -> None:
        self.people_buy([(who, lines, 0, place[0])])
        name, kind = list(self.sold)[-1], earning_kind(place[0], self.book.terms_now)
        self.points_are_taken(who, kind, part)
        self.come_back(name, [back] * 3)
        if given:
            self.points_are_given(who, kind, given, None, None)

    @rule(
        who=SOMEBODY,
        place=PLACES,
        lines=DEAR_LINES,
        parts=st.lists(st.sampled_from([0.4, 1]), min_size=1, max_size=2),
        is_refunded=st.booleans(),
    )
    def points_come_back_to_who_owes(
        self, who: str, place: tuple[str, str], lines: list[int], parts: list[float], is_refunded: bool
    ) -> None:
        self.something_else_is_promised(("returned_but_spent", "debt"))
        self.points_are_given(who, place[1], FEW, None, None)
        self.points_are_taken(who, place[1], 0.3)
        taken = len(self.by_hand) - 1
        self.somebody_pays_with_points(who, place, lines, 1, 1)
        paid = list(self.sold)[-1:] if is_refunded else []
        self.what_was_earned_is_spent_and_the_goods_come_back(who, place, lines, 1, 1, 0)
        for part in parts:
            for name in paid:
                self.come_back(name, [part] * 3)
            if taken >= 0:
                self.it_is_reversed(taken, part)

    @rule(
        who=SOMEBODY,
        place=PLACES,
        lines=DEAR_LINES,
        part=PARTS,
        spent=st.sampled_from([0, 0.5, 1]),
        is_job_late=st.booleans(),
        is_blocked=st.sampled_from([False, False, True]),
        redemption=st.sampled_from([None, 9_000, 15_000]),
    )
    def a_till_is_late(
        self,
        who: str,
        place: tuple[str, str],
        lines: list[int],
        part: float,
        spent: float,
        is_job_late: bool,
        is_blocked: bool,
        redemption: int | None,
    ) -> None:
        store, kind = place
        receipt = self.want_to_pay(who, place, lines, part)
        if receipt is None:
            return
        if is_job_late:
            self.lots_end(days=20)
        else:
            self.holds_time_out(minutes=16)
        if spent:
            self.points_are_taken(who, kind, spent)
        if redemption:
            self.coefficients_are_set(who, kind, None, redemption)
        if is_blocked and not self.book.frozen:
            self.somebody_is_blocked(who)
        self.tick()
        self.complete([Bought(receipt.name, who, lines, self.book.now, len(self.holds) - 1, store)])

    @rule(
        who=SOMEBODY,
        place=PLACES,
        lines=DEAR_LINES,
        is_paid=st.booleans(),
        parts=st.lists(st.sampled_from([0.3, 0.4, 0.7]), min_size=1, max_size=3),
        is_cancelled=st.sampled_from([False, False, True]),
        is_one_batch=st.booleans(),
    )
    def everything_comes_in_the_wrong_order(
        self,
        who: str,
        place: tuple[str, str],
        lines: list[int],
        is_paid: bool,
        parts: list[float],
        is_cancelled: bool,
        is_one_batch: bool,
    ) -> None:
        name, hold = self.name(), None
        if is_paid and (receipt := self.want_to_pay(who, place, lines, 1)) is not None:
            name, hold = receipt.name, len(self.holds) - 1
        self.tick()
        bought = Bought(name, who, lines, self.book.now, hold, place[0])
        of = self.said_by_till(bought)
        first: list[PurchaseReturned | PurchaseCancelled] = [
            came_back(of, of_lines(lines, [part] * 3), returned_at=self.book.now) for part in parts
        ]
        if is_cancelled:
            first.append(cancelled(of))
        if not is_one_batch:
            for each in first:
                self.comes_back(each)
        self.complete([bought], after=first if is_one_batch else ())

    @rule(who=SOMEBODY, other=SOMEBODY, place=PLACES, lines=DEAR_LINES, is_merge=st.booleans())
    def accounts_change_while_points_are_held(
        self, who: str, other: str, place: tuple[str, str], lines: list[int], is_merge: bool
    ) -> None:
        self.want_to_pay(who, place, lines, 1)
        if is_merge:
            self.customers_are_merged(other, who)
        else:
            self.somebody_joins_a_family(who, other)
