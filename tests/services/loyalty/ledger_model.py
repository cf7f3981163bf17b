"""The ledger told once more in plain Python, by what the documentation promises: the real one is held against it.

It shares no line with services/loyalty. Lots are numbered as they are made; people and receipts are named by words.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any

LEVELS = [("gold", 600_000, 2_000), ("silver", 200_000, 1_000), ("base", 0, 500)]
"""Code, money spent from which on it is reached, basis points that it earns; the highest first."""
TERMS: dict[str, Any] = {
    "levels": [
        {"code": code, "spent_minor_from": spent, "rate_basis_points": rate} for code, spent, rate in reversed(LEVELS)
    ],
    "rounding": "down",
    "rounded_per": "receipt",
    "earns_on_part_paid_with_points": False,
    "not_earning": {"products": []},
    "not_payable": {"products": []},
    "payable_share": 10_000,
    "payable_min_points": 1,
    "payable_step_points": 1,
    "quote_life_s": 86_400,
    "hold_life_s": 900,
    "activates_after_h": 0,
    "lot_life_days": 365,
    "lots_live_on_with_activity": False,
    "lots_age_while_frozen": True,
    "returned_but_spent": "other_lots",
    "refund_revives_days": 30,
}
POINT_WORTH_MINOR = 100
ROUNDING: dict[str, Callable[[Fraction], int]] = {"down": floor, "up": ceil, "half_even": round}
Taken = list[tuple[int, int]]
"""Points by the number of their lot, in the order in which they were taken."""


class Refused(Exception):
    """What the real one refuses too, by the stable word of its problem or dead letter."""


@dataclass
class Lot:
    number: int
    remaining: int
    expires_at: datetime | None
    activates_at: datetime | None = None
    pending: bool = False
    held: int = 0
    came_from: "Account | None" = None

    @property
    def free(self) -> int:
        return self.remaining - self.held

    @property
    def life(self) -> tuple[bool, Any, int]:
        """What lives shorter is less, of equal ones the older."""
        return self.expires_at is None, self.expires_at or 0, self.number


@dataclass
class Account:
    owner: str
    lots: dict[int, Lot] = field(default_factory=dict)
    debt: int = 0
    spent: int = 0
    frozen_at: datetime | None = None
    freeze_changed_at: datetime | None = None
    merged_into: "Account | None" = None

    @property
    def balance(self) -> int:
        return sum(lot.remaining for lot in self.lots.values()) - self.debt

    @property
    def pending(self) -> int:
        return sum(lot.remaining for lot in self.lots.values() if lot.pending)

    @property
    def held(self) -> int:
        return sum(lot.held for lot in self.lots.values())

    @property
    def available(self) -> int:
        return max(0, self.balance - self.pending - self.held)

    def in_order(self, *, pending: bool) -> list[Lot]:
        """Lots with free points, soonest-expiring first, of equal ones the older first."""
        free = [lot for lot in self.lots.values() if lot.free and (pending or not lot.pending)]
        return sorted(free, key=lambda lot: lot.life)

    def plan(self, points: int, lots: Iterable[Lot]) -> Taken:
        taken = []
        for lot in lots:
            part = min(points, lot.free)
            points -= part
            if part:
                taken.append((lot.number, part))
        return taken

    def take(self, points: int, lots: Iterable[Lot]) -> Taken:
        """As many of the points as there are."""
        taken = self.plan(points, lots)
        for number, part in taken:
            self.lots[number].remaining -= part
        return taken


@dataclass
class Bought:
    """A purchase as a till says it; `lines` are totals."""

    receipt: str
    buyer: str
    lines: Sequence[int]
    at: datetime
    hold: int | None = None


@dataclass
class Hold:
    receipt: str
    account: Account
    points: int
    lots: Taken
    ends_at: datetime
    state: str = "held"


@dataclass
class Receipt:
    name: str
    buyer: str
    lines: Sequence[int]
    state: str
    quoted_at: datetime
    account: Account | None = None
    lot: int | None = None
    earned: Sequence[int] = ()
    counts: bool = True
    payment: Taken = field(default_factory=list)
    paid_on: Account | None = None
    paid: Sequence[int] = ()
    refunded: int = 0
    back_in: dict[int, int] = field(default_factory=dict)
    """By the number of its lot, what of the payment is back in it."""
    back: dict[int, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        return self.state in ("completed", "partly_returned", "returned", "cancelled")


@dataclass
class ByHand:
    """Points given (positive) or taken by hand."""

    account: Account
    points: int
    lot: int | None = None
    taken: Taken = field(default_factory=list)
    reversed: int = 0
    back_in: dict[int, int] = field(default_factory=dict)


@dataclass
class Merge:
    survivor: str
    into: Account
    was: tuple[str, str] | None
    followers: list[str]
    pointing: list[Account]
    brought: int
    spent: int
    is_plain: bool
    """No debt on either side, the survivor not merged in turn: then the promise says to the point what goes back."""
    own: int = 0


def share(points: int, part: int, whole: int) -> int:
    return points if part == whole else points * part // whole


def spread(whole: int, weights: Sequence[int]) -> list[int]:
    """By the largest remainder; of equal ones the earlier first."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    exact = [Fraction(whole * weight, total) for weight in weights]
    parts = [floor(each) for each in exact]
    by_remainder = sorted(range(len(parts)), key=lambda place: (parts[place] - exact[place], place))
    for place in by_remainder[: whole - sum(parts)]:
        parts[place] += 1
    return parts


class Ledger:
    """Everything that the service keeps, as a person with paper would keep it."""

    def __init__(self, people: Sequence[str], now: datetime) -> None:
        self.now = now
        self.terms: list[tuple[datetime, dict[str, Any]]] = []
        self.accounts = {person: Account(person) for person in people}
        self.members: dict[str, tuple[str, str]] = {}
        self.receipts: dict[str, Receipt] = {}
        self.holds: list[Hold] = []
        self.by_hand: list[ByHand] = []
        self.merges: dict[str, Merge] = {}
        self.lots_made = 0

    # --- what is promised, and whose accounts are opened ---

    def promise(self, since: datetime, terms: dict[str, Any]) -> None:
        self.terms.append((since, {**(self.terms[-1][1] if self.terms else TERMS), **terms}))

    def terms_at(self, moment: datetime) -> dict[str, Any]:
        return next(terms for since, terms in reversed(self.terms) if since <= moment)

    @property
    def terms_now(self) -> dict[str, Any]:
        return self.terms_at(self.now)

    def holder(self, person: str) -> str:
        return self.members[person][0] if person in self.members else person

    def opened_by(self, person: str) -> Account:
        return self.accounts[self.holder(person)]

    def is_blocked(self, person: str) -> bool:
        return self.opened_by(person).frozen_at is not None or self.accounts[person].frozen_at is not None

    def stands_for(self, account: Account) -> Account:
        return account.merged_into or account

    # --- tills: quotes and holds ---

    def quote(self, name: str, buyer: str, lines: Sequence[int]) -> int:
        """The most points that can be paid with."""
        known = self.receipts.get(name)
        if known is not None and known.state not in ("quoted", "abandoned"):
            raise Refused("points_held" if known.state == "held" else "purchase_completed")
        self.receipts[name] = Receipt(name, buyer, lines, "quoted", self.now)
        return 0 if self.is_blocked(buyer) else self.most(self.opened_by(buyer), lines)

    def hold(self, name: str, points: int) -> Hold:
        receipt, terms = self.receipts[name], self.terms_now
        account = self.opened_by(receipt.buyer)
        if self.is_blocked(receipt.buyer):
            raise Refused("account_frozen")
        if receipt.state != "quoted":
            words = {"held": "points_held", "abandoned": "purchase_abandoned"}
            raise Refused(words.get(receipt.state, "purchase_completed"))
        if points < terms["payable_min_points"] or points % terms["payable_step_points"]:
            raise Refused("points_not_payable")
        if points > account.available:
            raise Refused("not_enough_points")
        if points > self.most(account, receipt.lines):
            raise Refused("too_many_points")
        lots = account.plan(points, account.in_order(pending=False))
        for number, part in lots:
            account.lots[number].held += part
        hold = Hold(name, account, points, lots, self.now + timedelta(seconds=terms["hold_life_s"]))
        self.holds.append(hold)
        receipt.state = "held"
        return hold

    def release(self, name: str) -> None:
        standing = self._standing(lambda hold: hold.receipt == name)
        if not standing:
            raise Refused("nothing_held")
        self._let_go(standing)

    def time_out(self) -> None:
        for hold in self._standing(lambda hold: hold.ends_at <= self.now):
            self._unhold(hold, "timed_out")
            if self.receipts[hold.receipt].state == "held":
                self.receipts[hold.receipt].state = "abandoned"

    def abandon(self) -> None:
        life = timedelta(seconds=self.terms_now["quote_life_s"])
        for receipt in self.receipts.values():
            if receipt.state == "quoted" and receipt.quoted_at <= self.now - life:
                receipt.state = "abandoned"

    def most(self, account: Account, lines: Sequence[int]) -> int:
        terms = self.terms_now
        points = min(sum(self._payable(lines, terms)) // POINT_WORTH_MINOR, account.available)
        points -= points % terms["payable_step_points"]
        return points if points >= terms["payable_min_points"] else 0

    def _payable(self, lines: Sequence[int], terms: dict[str, Any]) -> list[int]:
        by_line = [0 if f"p{no}" in terms["not_payable"]["products"] else total for no, total in enumerate(lines, 1)]
        whole = sum(lines) * terms["payable_share"] // 10_000
        return by_line if sum(by_line) <= whole else spread(whole, by_line)

    def _standing(self, which: Callable[[Hold], bool]) -> list[Hold]:
        return [hold for hold in self.holds if hold.state == "held" and which(hold)]

    def _unhold(self, hold: Hold, state: str) -> None:
        hold.state = state
        for number, part in hold.lots:
            hold.account.lots[number].held -= part

    def _let_go(self, holds: Iterable[Hold]) -> None:
        for hold in holds:
            self._unhold(hold, "released")
            if self.receipts[hold.receipt].state == "held":
                self.receipts[hold.receipt].state = "quoted"
                self.receipts[hold.receipt].quoted_at = self.now

    # --- purchases ---

    def buy(self, purchases: Sequence[Bought]) -> None:
        """What tills said together: payments are taken first, then everything earns in its order."""
        new = [each for each in purchases if not self._is_complete(each.receipt)]
        payments = self._pay(new)
        lives: dict[str, datetime] = {}
        for each in new:
            self._earn(each, payments.get(each.receipt))
            terms = self.terms_at(each.at)
            if terms["lots_live_on_with_activity"] and terms["lot_life_days"]:
                account, end = self.opened_by(each.buyer), each.at + timedelta(days=terms["lot_life_days"])
                lives[account.owner] = max(end, lives.get(account.owner, end))
        for owner, end in lives.items():
            for lot in self.accounts[owner].lots.values():
                if lot.remaining and lot.expires_at is not None and self.now < lot.expires_at < end:
                    lot.expires_at = end

    def _is_complete(self, name: str) -> bool:
        return name in self.receipts and self.receipts[name].is_complete

    def _pay(self, purchases: Sequence[Bought]) -> dict[str, tuple[Account, Hold, Taken]]:
        for each in purchases:
            account = self.opened_by(each.buyer)
            for hold in self._standing(lambda hold, each=each: hold.receipt == each.receipt):  # type: ignore[misc]
                if hold.account is account and (each.hold is None or self.holds[each.hold] is not hold):
                    self._unhold(hold, "released")
        payments = {}
        for each in purchases:
            if each.hold is not None:
                account, hold = self.opened_by(each.buyer), self.holds[each.hold]
                payments[each.receipt] = (account, hold, self._capture(each, account, hold))
        return payments

    def _capture(self, bought: Bought, account: Account, hold: Hold) -> Taken:
        """So many points as the receipt can be paid with: of what is held the soonest-expiring, else what is there."""
        due = min(hold.points, ceil(Fraction(sum(bought.lines), POINT_WORTH_MINOR)))
        if hold.state == "held" and hold.account is account:
            self._unhold(hold, "captured" if due else "released")
            held = {number for number, _ in hold.lots}
            in_order = [lot for lot in account.in_order(pending=False) if lot.number in held]
            taken, parts = [], dict(hold.lots)
            for lot in in_order:
                part = min(due, parts[lot.number])
                due -= part
                lot.remaining -= part
                taken += [(lot.number, part)] if part else []
            return taken
        if self.is_blocked(bought.buyer):
            return []
        return account.take(min(due, account.available), account.in_order(pending=False))

    def _earn(self, bought: Bought, payment: tuple[Account, Hold, Taken] | None) -> None:
        terms, account = self.terms_at(bought.at), self.opened_by(bought.buyer)
        receipt = Receipt(bought.receipt, bought.buyer, bought.lines, "completed", self.now, account)
        money = [0] * len(bought.lines)
        if payment is not None:
            receipt.paid_on, hold, receipt.payment = payment
            money = self._paid_money(hold, bought, terms)
            receipt.paid = spread(sum(part for _, part in receipt.payment), money)
        receipt.counts = not self.is_blocked(bought.buyer)
        receipt.earned = self._earned(bought, money, account, terms) if receipt.counts else [0] * len(bought.lines)
        if receipt.counts:
            account.spent += sum(bought.lines)
        if sum(receipt.earned):
            wait = timedelta(hours=terms["activates_after_h"])
            starts = bought.at + wait
            life = terms["lot_life_days"]
            receipt.lot = self._open(
                account,
                sum(receipt.earned),
                expires_at=None if life is None else starts + timedelta(days=life),
                activates_at=starts if wait and starts > self.now else None,
            )
        self.receipts[bought.receipt] = receipt

    def _paid_money(self, hold: Hold, bought: Bought, terms: dict[str, Any]) -> list[int]:
        worth = min(hold.points * POINT_WORTH_MINOR, sum(bought.lines))
        payable = self._payable(bought.lines, terms)
        enough = sum(payable) >= hold.points * POINT_WORTH_MINOR
        return spread(worth, payable if enough else bought.lines)

    def _earned(self, bought: Bought, paid: Sequence[int], account: Account, terms: dict[str, Any]) -> list[int]:
        rate = next(rate for _, least, rate in LEVELS if account.spent >= least)
        without = terms["not_earning"]["products"]
        again = terms["earns_on_part_paid_with_points"]
        money = [
            0 if f"p{no}" in without else total - (0 if again else part)
            for no, (total, part) in enumerate(zip(bought.lines, paid, strict=True), 1)
        ]
        rounded = ROUNDING[terms["rounding"]]
        if terms["rounded_per"] == "line":
            return [rounded(Fraction(each * rate, 10_000 * POINT_WORTH_MINOR)) for each in money]
        return spread(rounded(Fraction(sum(money) * rate, 10_000 * POINT_WORTH_MINOR)), money)

    def _open(
        self, account: Account, points: int, expires_at: datetime | None, activates_at: datetime | None = None
    ) -> int:
        """A new lot, which pays what is owed first."""
        self.lots_made += 1
        paid = min(points, account.debt)
        account.debt -= paid
        account.lots[self.lots_made] = Lot(
            self.lots_made, points - paid, expires_at, activates_at, pending=activates_at is not None
        )
        return self.lots_made

    # --- returns ---

    def give_back(self, name: str, money: dict[int, int] | None) -> None:
        """Goods come back by line number for so much; None: the purchase is cancelled."""
        receipt = self.receipts[name]
        totals = dict(enumerate(receipt.lines, 1))
        if money is not None and receipt.state == "cancelled":
            raise Refused("purchase_cancelled")
        if money is None:
            now_back = totals
        else:
            now_back = {no: receipt.back.get(no, 0) + money.get(no, 0) for no in totals}
            if any(now_back[no] > totals[no] for no in totals):
                raise Refused("returned_too_much")
        earned, paid = self._of_lines(receipt, now_back), self._paid_of_lines(receipt, now_back)
        money_back = sum(now_back.values()) - sum(receipt.back.values())
        earned -= self._of_lines(receipt, receipt.back)
        paid -= self._paid_of_lines(receipt, receipt.back)
        receipt.back = dict(now_back)
        whole = now_back == totals
        receipt.state = "cancelled" if money is None else "returned" if whole else "partly_returned"
        if paid:
            self._refund(receipt, paid)
        self._take_earned(receipt, earned)
        assert receipt.account is not None
        if receipt.counts:
            self.stands_for(receipt.account).spent -= money_back
            self._own_spent(receipt.account, -money_back)

    def _of_lines(self, receipt: Receipt, back: dict[int, int]) -> int:
        lines = zip(receipt.earned, receipt.lines, strict=True)
        return sum(share(points, back.get(no, 0), total) for no, (points, total) in enumerate(lines, 1) if total)

    def _paid_of_lines(self, receipt: Receipt, back: dict[int, int]) -> int:
        if not receipt.paid:
            return 0
        lines = zip(receipt.paid, receipt.lines, strict=True)
        return sum(share(points, back.get(no, 0), total) for no, (points, total) in enumerate(lines, 1) if total)

    def _take_earned(self, receipt: Receipt, points: int) -> None:
        assert receipt.account is not None
        account, way = self.stands_for(receipt.account), self.terms_now["returned_but_spent"]
        before = account.balance
        own = account.lots.get(receipt.lot or 0)
        if own is not None:
            points -= sum(part for _, part in account.take(points, [own]))
        if way != "write_off":
            points -= sum(part for _, part in account.take(points, account.in_order(pending=True)))
        if way == "debt":
            account.debt += points
        self._own(receipt.account, account.balance - before)

    def _refund(self, receipt: Receipt, points: int) -> None:
        """To the lots that it came from, those that live longest first; what has burned meanwhile may live again."""
        assert receipt.paid_on is not None
        account, days = self.stands_for(receipt.paid_on), self.terms_now["refund_revives_days"]
        before, revived, back = account.balance, 0, []
        for number, part in self._backwards(
            receipt.paid_on, receipt.payment, receipt.back_in, receipt.refunded, points
        ):
            lot = self._like(receipt.paid_on, account, number)
            if lot.expires_at is None or lot.expires_at > self.now:
                back.append((number, part))
            elif days is not None:
                revived += part
        owed = account.debt
        if revived:
            self._open(account, revived, self.now + timedelta(days=days))
        self._bring_back(account, back, receipt.back_in)
        if account.debt < owed:
            self._owns_vaguely(receipt.paid_on)
        receipt.refunded += points
        self._own(receipt.paid_on, account.balance - before)

    def _bring_back(self, account: Account, back: Taken, back_in: dict[int, int]) -> None:
        """To old lots; the first points that come pay what is owed."""
        for number, part in back:
            paid = min(part, account.debt)
            account.debt -= paid
            account.lots[number].remaining += part - paid
            back_in[number] = back_in.get(number, 0) + part - paid

    def _backwards(self, account: Account, taken: Taken, back_in: dict[int, int], done: int, points: int) -> Taken:
        """To the lots that live longest first, to none more than was taken; `done` came before, to lots or not."""
        nowhere = done - sum(back_in.values())
        parts = []
        for number, part in sorted(taken, key=lambda each: account.lots[each[0]].life, reverse=True):
            out = part - back_in.get(number, 0)
            skipped = min(nowhere, out)
            nowhere -= skipped
            given = min(points, out - skipped)
            points -= given
            if given:
                parts.append((number, given))
        return parts

    def _like(self, original: Account, account: Account, number: int) -> Lot:
        if number not in account.lots:
            account.lots[number] = replace(original.lots[number], remaining=0, held=0, came_from=original)
        return account.lots[number]

    # --- by hand ---

    def give(self, person: str, points: int, activates_at: datetime | None, expires_at: datetime | None) -> None:
        account, life = self.opened_by(person), self.terms_now["lot_life_days"]
        if account.frozen_at is not None:
            raise Refused("account_frozen")
        if expires_at is None and life is not None:
            expires_at = (activates_at or self.now) + timedelta(days=life)
        self.by_hand.append(ByHand(account, points, self._open(account, points, expires_at, activates_at)))

    def take(self, person: str, points: int) -> None:
        account = self.opened_by(person)
        if points > account.available:
            raise Refused("not_enough_points")
        self.by_hand.append(ByHand(account, -points, taken=account.take(points, account.in_order(pending=False))))

    def reverse(self, index: int, points: int | None) -> None:
        done = self.by_hand[index]
        account = self.stands_for(done.account)
        left = abs(done.points) - done.reversed
        if not left:
            raise Refused("already_reversed")
        points = points or left
        if points > left:
            raise Refused("reversed_too_much")
        if done.lot is not None:
            own = account.lots.get(done.lot)
            if own is None or own.free < points:
                raise Refused("points_spent")
            own.remaining -= points
            self._own(done.account, -points)
        else:
            back = self._backwards(done.account, done.taken, done.back_in, done.reversed, points)
            for number, _ in back:
                self._like(done.account, account, number)
            owed = account.debt
            self._bring_back(account, back, done.back_in)
            self._own(done.account, points)
            if account.debt < owed:
                self._owns_vaguely(done.account)
        done.reversed += points

    # --- the clock ---

    def activate(self) -> None:
        for account in self.accounts.values():
            for lot in account.lots.values():
                if lot.pending and lot.activates_at is not None and lot.activates_at <= self.now:
                    lot.pending = False

    def expire(self) -> None:
        for account in self.accounts.values():
            if account.frozen_at is not None and not self.terms_now["lots_age_while_frozen"]:
                continue
            for lot in account.lots.values():
                if lot.expires_at is not None and lot.expires_at <= self.now and lot.free:
                    if lot.came_from is not None and lot.came_from.merged_into is not None:
                        self._own(lot.came_from, -lot.free)
                    lot.remaining = lot.held

    def freeze(self, person: str) -> None:
        account = self.accounts[person]
        if account.frozen_at is None:
            account.frozen_at = account.freeze_changed_at = self.now

    def unfreeze(self, person: str) -> None:
        account = self.accounts[person]
        if account.frozen_at is None:
            return
        if not self.terms_now["lots_age_while_frozen"]:
            for lot in account.lots.values():
                if lot.remaining and lot.expires_at is not None and lot.expires_at > account.frozen_at:
                    lot.expires_at += self.now - account.frozen_at
        account.frozen_at, account.freeze_changed_at = None, self.now

    # --- families and merges ---

    def join(self, person: str, holder: str) -> None:
        if person == holder:
            raise Refused("same_customer")
        if self.members.get(person, ("", ""))[0] == holder:
            return
        if person in self.members:
            raise Refused("in_a_family")
        if holder in self.members:
            raise Refused("holder_in_a_family")
        if any(each == (person, "family") for each in self.members.values()):
            raise Refused("has_a_family")
        self._let_go_of(self.accounts[person])
        self.members[person] = (holder, "family")
        self._follow(person, person, holder)

    def leave(self, person: str, holder: str) -> None:
        if self.members.get(person) != (holder, "family"):
            raise Refused("not_a_member")
        self._let_go_of(self.accounts[holder])
        del self.members[person]
        self._follow(person, holder, person)

    def _follow(self, person: str, before: str, holder: str) -> None:
        """Those who are part of the person go along."""
        for merged, done in self.merges.items():
            if done.survivor == person and self.members[merged] == (before, "merge"):
                self.members[merged] = (holder, "merge")

    def merge(self, survivor: str, merged: str) -> None:
        if self.members.get(survivor, ("", ""))[1] == "merge":
            raise Refused("survivor_merged")
        if self.holder(survivor) == merged:
            raise Refused("survivor_is_member")
        account, into = self.accounts[merged], self.opened_by(survivor)
        self._let_go_of(account, self.opened_by(merged))
        pointing = [each for each in self.accounts.values() if each is account or each.merged_into is account]
        for part in pointing:
            part.merged_into = into
            if part is not account:
                self.merges[part.owner].is_plain = False
        self.merges[merged] = Merge(
            survivor,
            into,
            self.members.pop(merged, None),
            [each for each, (holder, _) in self.members.items() if holder == merged],
            pointing,
            sum(lot.remaining for lot in account.lots.values()),
            account.spent,
            is_plain=not account.debt and not into.debt,
        )
        for lot in account.lots.values():
            if lot.remaining:
                theirs = self._like(account, into, lot.number)
                remaining = theirs.remaining + lot.remaining
                into.lots[lot.number] = replace(lot, remaining=remaining, held=theirs.held, came_from=theirs.came_from)
                lot.remaining = 0
        into.debt, account.debt = into.debt + account.debt, 0
        into.spent, account.spent = into.spent + account.spent, 0
        for each in self.merges[merged].followers:
            self.members[each] = (self.holder(survivor), self.members[each][1])
        self.members[merged] = (self.holder(survivor), "merge")

    def unmerge(self, survivor: str, merged: str) -> int | None:
        """Everybody opens again what they opened before; gives the points that go back, None: the promise is not plain.

        The lots are then those of the real ledger: which of them pay what is missing is nobody's promise.
        """
        done = self.merges[merged]
        if self.members.get(survivor, ("", ""))[1] == "merge" or done.into.merged_into is not None:
            raise Refused("survivor_merged")
        back = max(0, done.brought + done.own)
        is_plain = done.is_plain and not done.into.debt
        if is_plain and back > sum(lot.remaining for lot in done.into.lots.values()):
            raise Refused("merge_spent")
        self._let_go_of(done.into)
        for part in done.pointing:
            part.merged_into = None if part.owner == merged else self.accounts[merged]
        del self.members[merged]
        if done.was is not None:
            self.members[merged] = (self.holder(done.was[0]), done.was[1])
        for each in done.followers:
            if each in self.members and self.members[each][0] == done.into.owner:
                self.members[each] = (merged, self.members[each][1])
        del self.merges[merged]
        return back if is_plain else None

    def _let_go_of(self, *accounts: Account) -> None:
        self._let_go(self._standing(lambda hold: any(hold.account is account for account in accounts)))

    def _own(self, account: Account, change: int) -> None:
        """By so much something of the account's own changed what it stands for."""
        for done in self._merges_of(account):
            done.own += change

    def _owns_vaguely(self, account: Account) -> None:
        """Something of its own has paid what all together owed: whose debt that was is nobody's promise."""
        for done in self._merges_of(account):
            done.is_plain = False

    def _own_spent(self, account: Account, change: int) -> None:
        for done in self._merges_of(account):
            done.spent += change

    def _merges_of(self, account: Account) -> Iterable[Merge]:
        while account.merged_into is not None:
            done = self.merges[account.owner]
            yield done
            account = done.into
