"""What the staff do: give points, take them, reverse it; set coefficients; decide reviews; promise something else."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from chassis.transaction import Transaction
from services.loyalty import by_hand, verdicts
from services.loyalty.by_hand import Adjustment, Why
from services.loyalty.coefficients import set_coefficients
from services.loyalty.verdicts import Verdict
from tests.services.loyalty.machine.history import ANY_ONE, KINDS, OLGA, SOMEBODY, History
from tests.services.loyalty.model import by_hand as on_paper
from tests.services.loyalty.model.limits import decide
from tests.services.loyalty.model.promises import FUEL, MAIN, STATIONS

WHY = Why(OLGA, "complaint", None)
LARGE = {"code": "large", "per": "card", "measure": "receipt_total_minor", "most": 50_000}
OFTEN = {"code": "often", "per": "customer", "measure": "purchases", "window": "day", "most": 3}
PROMISES = {
    "account_kinds": st.sampled_from([[MAIN, FUEL], [MAIN, FUEL], [MAIN, FUEL | {"earns": False}]]),
    "establishments": st.sampled_from([[STATIONS], [STATIONS], [STATIONS | {"stores": []}]]),
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
    "limits": st.sampled_from([[], [LARGE | {"hard": True}], [LARGE, OFTEN], [LARGE, OFTEN | {"hard": True}]]),
}


class ByStaff(History):
    @rule(
        who=SOMEBODY,
        kind=KINDS,
        points=st.integers(1, 300),
        wait=st.sampled_from([None, None, 5]),
        life=st.sampled_from([None, 20]),
    )
    def points_are_given(self, who: str, kind: str, points: int, wait: int | None, life: int | None) -> None:
        self.tick()
        activates_at = None if wait is None else self.book.now + timedelta(hours=wait)
        expires_at = None if life is None else self.book.now + timedelta(days=life)
        asked = Adjustment(points, kind=kind, activates_at=activates_at, expires_at=expires_at)
        self.adjust(who, asked)

    @rule(who=SOMEBODY, kind=KINDS, part=st.sampled_from([0.2, 0.6, 1, 1.2]))
    def points_are_taken(self, who: str, kind: str, part: float) -> None:
        self.tick()
        account = self.book.opened_by(who).get(kind)
        points = max(1, round(account.available * part)) if account else 1
        self.adjust(who, Adjustment(-points, kind=kind))

    def adjust(self, who: str, asked: Adjustment) -> None:
        async def adjust(tx: Transaction) -> UUID:
            return (await by_hand.adjust(tx, self.ids[who], asked, WHY)).id

        def told() -> None:
            if asked.points > 0:
                on_paper.give(self.book, who, asked.kind, asked.points, asked.activates_at, asked.expires_at)
            else:
                on_paper.take(self.book, who, asked.kind, -asked.points)

        done = self.same(adjust, told, equal=False)
        if done is not None:
            self.by_hand.append(done)

    @precondition(lambda self: self.by_hand)
    @rule(which=ANY_ONE, part=st.sampled_from([None, None, 0.3, 0.5]))
    def it_is_reversed(self, which: int, part: float | None) -> None:
        self.tick()
        index = which % len(self.by_hand)
        points = None if part is None else max(1, round(abs(self.book.by_hand[index].points) * part))

        async def undo(tx: Transaction) -> None:
            await by_hand.reverse(tx, self.by_hand[index], points, WHY)

        self.same(undo, lambda: on_paper.reverse(self.book, index, points), equal=False)

    @rule(
        who=SOMEBODY,
        kind=KINDS,
        bonus=st.sampled_from([None, 0, 5_000, 10_000, 12_345, 15_000, 15_000]),
        redemption=st.sampled_from([None, 0, 50, 3_333, 10_000, 15_000, 20_001]),
    )
    def coefficients_are_set(self, who: str, kind: str, bonus: int | None, redemption: int | None) -> None:
        self.tick()

        async def change(tx: Transaction) -> None:
            await set_coefficients(tx, self.ids[who], kind, bonus, redemption, WHY)

        self.same(change, lambda: on_paper.set_coefficients(self.book, who, kind, bonus, redemption), equal=False)

    @precondition(lambda self: self.book.reviews)
    @rule(which=ANY_ONE, verdict=st.sampled_from(["approved", "approved", "rejected"]))
    def a_review_is_decided(self, which: int, verdict: Verdict) -> None:
        """Open ones before the others."""
        reviews = self.book.reviews
        self.look_into(
            sorted(range(len(reviews)), key=lambda each: reviews[each].state != "open")[which % len(reviews)], verdict
        )

    def look_into(self, index: int, verdict: Verdict) -> None:
        self.tick()

        async def settle(tx: Transaction) -> None:
            ids = [row.id for row in await tx.sql("SELECT id FROM reviews ORDER BY id")]
            await verdicts.decide(tx, ids[index], verdict, WHY)

        self.same(settle, lambda: decide(self.book, index, verdict), equal=False)

    @rule(promise=st.sampled_from(sorted(PROMISES)).flatmap(lambda term: st.tuples(st.just(term), PROMISES[term])))
    def something_else_is_promised(self, promise: tuple[str, Any]) -> None:
        self.promise(dict([promise]))

    def promise(self, terms: dict[str, Any]) -> None:
        self.tick()
        self.world.run(self.loyalty.set_terms(since=self.book.now, **terms))
        self.book.promise(self.book.now, terms)
