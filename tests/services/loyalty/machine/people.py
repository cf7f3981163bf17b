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
from tests.services.loyalty.model.book import Refused
from tests.services.loyalty.model.merges import merge, unmerge
from tests.services.loyalty.model.people import freeze, join, leave, unfreeze


class OfPeople(History):
    @precondition(lambda self: not any(each.frozen_at for each in self.book.accounts.values()))
    @rule(who=SOMEBODY)
    def somebody_is_blocked(self, who: str) -> None:
        self.tick()
        event = CustomerBlocked(customer_id=self.ids[who], blocked_at=self.book.now, reason="suspected_fraud")
        self.hear([event], lambda: freeze(self.book, who))

    @precondition(lambda self: any(each.frozen_at for each in self.book.accounts.values()))
    @rule(which=ANY_ONE, days=st.sampled_from([0, 10]))
    def somebody_is_unblocked(self, which: int, days: int) -> None:
        self.tick(timedelta(days=days))
        blocked = [person for person, account in self.book.accounts.items() if account.frozen_at]
        who = blocked[which % len(blocked)]
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
        own, into = self.book.accounts[merged], done.into
        before = [own.balance + into.balance, own.debt + into.debt, own.spent + into.spent]
        heard = came(event, self.book.now)
        refused = self.world.run(self.tell([heard]))
        if refused == ["merge_spent"] and (into.debt or not done.is_plain):
            self.refusals += refused
            return
        back = None
        expected: list[str] = []
        try:
            back = unmerge(self.book, done.survivor, merged)
        except Refused as why:
            expected = [str(why)]
        assert refused == expected
        self.refusals += refused
        if refused:
            return
        self.heard.append(heard)
        self.world.run(adopt(self, own, into))
        assert [own.balance + into.balance, own.debt + into.debt, own.spent + into.spent] == before
        assert own.spent == done.spent
        if back is not None:
            assert own.balance == back
