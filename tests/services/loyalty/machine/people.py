"""What becomes of people: they are blocked, share accounts, were one person all along, or were not."""

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from chassis.transaction import Transaction
from contracts.customers import CustomerBlocked, CustomersMerged, CustomersUnmerged, CustomerUnblocked
from services.loyalty import families
from tests.off_the_bus import came
from tests.services.loyalty.machine.comparing import adopt
from tests.services.loyalty.machine.history import ANY_ONE, OLGA, SOMEBODY, History
from tests.services.loyalty.model.book import Brought, Refused
from tests.services.loyalty.model.merges import merge, unmerge
from tests.services.loyalty.model.people import freeze, join, leave, unfreeze


class OfPeople(History):
    @precondition(lambda self: not self.book.frozen)
    @rule(who=SOMEBODY)
    def somebody_is_blocked(self, who: str) -> None:
        self.tick()
        event = CustomerBlocked(customer_id=self.ids[who], blocked_at=self.book.now, reason="suspected_fraud")
        self.hear([event], lambda: freeze(self.book, who))

    @precondition(lambda self: self.book.frozen)
    @rule(which=ANY_ONE, days=st.sampled_from([0, 10]))
    def somebody_is_unblocked(self, which: int, days: int) -> None:
        self.tick(timedelta(days=days))
        who = list(self.book.frozen)[which % len(self.book.frozen)]
        event = CustomerUnblocked(customer_id=self.ids[who], unblocked_at=self.book.now)
        self.hear([event], lambda: unfreeze(self.book, who))

    @rule(who=SOMEBODY, holder=SOMEBODY)
    def somebody_joins_a_family(self, who: str, holder: str) -> None:
        self.tick()

        async def come(tx: Transaction) -> None:
            await families.join(tx, self.ids[who], self.ids[holder], OLGA)

        self.same(come, lambda: join(self.book, who, holder), equal=False)

    @precondition(lambda self: self.book.members)
    @rule(which=ANY_ONE)
    def somebody_leaves_a_family(self, which: int) -> None:
        self.tick()
        who, (holder, _) = list(self.book.members.items())[which % len(self.book.members)]

        async def go(tx: Transaction) -> None:
            await families.leave(tx, self.ids[who], self.ids[holder], OLGA)

        self.same(go, lambda: leave(self.book, who, holder), equal=False)

    @precondition(lambda self: len(self.book.merges) < 2)
    @rule(survivor=SOMEBODY, merged=SOMEBODY)
    def customers_are_merged(self, survivor: str, merged: str) -> None:
        self.tick()
        if survivor == merged or merged in self.book.merges:
            return
        event = CustomersMerged(customer_id=self.ids[survivor], merged_id=self.ids[merged], merged_at=self.book.now)
        self.hear([event], lambda: merge(self.book, survivor, merged))

    @precondition(lambda self: self.book.merges)
    @rule(which=ANY_ONE)
    def a_merge_is_undone(self, which: int) -> None:
        self.tick()
        merged, done = list(self.book.merges.items())[which % len(self.book.merges)]
        event = CustomersUnmerged(
            customer_id=self.ids[done.survivor], merged_id=self.ids[merged], unmerged_at=self.book.now
        )
        brought = done.brought.values()
        before = [_both(each) for each in brought]
        back = [each.back for each in brought]
        heard = came(event, self.book.now)
        refused = self.world.run(self.tell([heard]))
        if refused == ["merge_spent"] and None in back:
            self.refusals += refused
            return
        expected: list[str] = []
        try:
            unmerge(self.book, done.survivor, merged)
        except Refused as why:
            expected = [str(why)]
        assert refused == expected
        self.refusals += refused
        if refused:
            return
        self.heard.append(heard)
        self.world.run(adopt(self, [account for each in brought for account in (each.account, each.into)]))
        assert [_both(each) for each in brought] == before
        assert [each.account.spent for each in brought] == [each.spent for each in brought]
        assert all(points in (None, each.account.balance) for each, points in zip(brought, back, strict=True))


def _both(brought: Brought) -> tuple[int, int, int]:
    """Balance, debt and money spent of the two accounts together."""
    own, into = brought.account, brought.into
    return own.balance + into.balance, own.debt + into.debt, own.spent + into.spent
