"""What comes with time, and what comes again."""

from datetime import timedelta
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from chassis.envelope import Heard
from chassis.giving_up import give_up_long_waits
from contracts.purchases import PurchaseCancelled, PurchaseReturned
from services.loyalty.activation import activate_due_lots
from services.loyalty.expiry import expire_due_lots
from services.loyalty.holds import release_timed_out
from services.loyalty.quotes import abandon_stale
from tests.off_the_bus import came
from tests.services.loyalty.machine.history import ANY_ONE, History
from tests.services.loyalty.model.clock import activate, expire
from tests.services.loyalty.model.holds import abandon, time_out
from tests.services.loyalty.model.returns import PATIENCE, give_up


class WithTime(History):
    @rule(minutes=st.sampled_from([1, 16, 16, 60, 36 * 60, 8 * 24 * 60, 40 * 24 * 60]))
    def time_passes(self, minutes: int) -> None:
        self.tick(timedelta(minutes=minutes))

    @rule(minutes=st.sampled_from([0, 16]))
    def holds_time_out(self, minutes: int) -> None:
        self.tick(timedelta(minutes=minutes))
        self.job(release_timed_out, time_out)

    @rule()
    def quotes_are_abandoned(self) -> None:
        self.tick()
        self.job(abandon_stale, abandon)

    @rule(hours=st.sampled_from([0, 36]))
    def lots_are_activated(self, hours: int) -> None:
        self.tick(timedelta(hours=hours))
        self.job(activate_due_lots, activate)

    @rule(days=st.sampled_from([0, 20]))
    def lots_end(self, days: int) -> None:
        self.tick(timedelta(days=days))
        self.job(expire_due_lots, expire)

    @precondition(lambda self: self.book.waiting)
    @rule(days=st.sampled_from([0, 31, 31]))
    def waits_are_given_up(self, days: int) -> None:
        self.tick(timedelta(days=days))
        self.job(partial(give_up_long_waits, patience=PATIENCE), give_up)

    @precondition(lambda self: self.heard)
    @rule(which=st.lists(ANY_ONE, min_size=1, max_size=6), is_same_event=st.booleans())
    def it_comes_again(self, which: list[int], is_same_event: bool) -> None:
        """What was carried out changes nothing; a return that could not be, or waits, is tried as if it were new."""
        self.tick()
        again = [self.heard[each % len(self.heard)] for each in which]
        done: list[Heard] = []
        for each in again:
            if not isinstance(each.record, PurchaseReturned | PurchaseCancelled) or self.is_done(each.record):
                done.append(each if is_same_event else came(each.record, self.book.now))
            elif not is_same_event:
                self.comes_back(each.record)
        self.world.run(self.loyalty.hear(*done))
