"""Everything that the service keeps, as a person with paper would keep it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import floor
from typing import Any

from tests.services.loyalty.model.lots import Account, Lot, Taken
from tests.services.loyalty.model.promises import TERMS


class Refused(Exception):
    """What the real one refuses too, by the stable word of its problem or dead letter."""


@dataclass
class Bought:
    """A purchase as a till says it; `lines` are totals."""

    receipt: str
    buyer: str
    lines: Sequence[int]
    at: datetime
    hold: int | None = None
    store: str = "367"


@dataclass
class Return:
    """Goods that come back, by line number for so much; None: the purchase is cancelled."""

    number: str
    receipt: str
    money: dict[int, int] | None


@dataclass
class Hold:
    receipt: str
    account: Account
    points: int
    worth: Fraction
    """Money that a point stood for when they were held."""
    lots: Taken
    ends_at: datetime
    state: str = "held"

    @property
    def money(self) -> int:
        """What the till takes off."""
        return floor(self.points * self.worth)


@dataclass
class Receipt:
    name: str
    buyer: str
    lines: Sequence[int]
    state: str
    at: datetime
    """When it was quoted, or bought."""
    store: str
    person: str = ""
    """Who the buyer was part of when it was credited."""
    account: Account | None = None
    lot: int | None = None
    earned: Sequence[int] = ()
    withheld: str | None = None
    """Why it earned nothing and does not count: `account_frozen`, `limit`."""
    paid_money: Sequence[int] = ()
    payment: Taken = field(default_factory=list)
    paid_on: Account | None = None
    paid: Sequence[int] = ()
    refunded: int = 0
    back_in: dict[int, int] = field(default_factory=dict)
    """By the number of its lot, what of the payment is back in it."""
    back: dict[int, int] = field(default_factory=dict)
    returns: set[str] = field(default_factory=set)
    """The numbers of those that were carried out."""

    @property
    def is_complete(self) -> bool:
        return self.state in ("completed", "partly_returned", "returned", "cancelled")


@dataclass
class Review:
    receipt: str
    hard: bool
    state: str = "open"

    @property
    def withholds(self) -> bool:
        return self.state == "rejected" or (self.hard and self.state == "open")


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
class Brought:
    """What an account of the merged one brought."""

    account: Account
    into: Account
    pointing: list[Account]
    points: int
    spent: int
    is_plain: bool
    """No debt on either side, the survivor not merged in turn: then the promise says to the point what goes back."""
    own: int = 0

    @property
    def back(self) -> int | None:
        """The points that go back; None: the promise is not plain."""
        return max(0, self.points + self.own) if self.is_plain and not self.into.debt else None


@dataclass
class Merge:
    survivor: str
    was: tuple[str, str] | None
    followers: list[str]
    brought: dict[str, Brought]
    """By kind of account."""


class Book:
    """What is kept, what is promised, and whose accounts are opened."""

    def __init__(self, people: Sequence[str], now: datetime) -> None:
        self.now = now
        self.terms: list[tuple[datetime, dict[str, Any]]] = []
        self.accounts = {person: {"main": Account(person, "main")} for person in people}
        """By kind."""
        self.frozen: dict[str, datetime] = {}
        self.members: dict[str, tuple[str, str]] = {}
        self.receipts: dict[str, Receipt] = {}
        self.waiting: list[tuple[datetime, Return]] = []
        """Since when, what came before its purchase."""
        self.waited = 0
        self.holds: list[Hold] = []
        self.reviews: list[Review] = []
        self.by_hand: list[ByHand] = []
        self.merges: dict[str, Merge] = {}
        self.lots_made = 0

    def promise(self, since: datetime, terms: dict[str, Any]) -> None:
        self.terms.append((since, {**(self.terms[-1][1] if self.terms else TERMS), **terms}))

    def terms_at(self, moment: datetime) -> dict[str, Any]:
        return next(terms for since, terms in reversed(self.terms) if since <= moment)

    @property
    def terms_now(self) -> dict[str, Any]:
        return self.terms_at(self.now)

    def holder(self, person: str) -> str:
        return self.members[person][0] if person in self.members else person

    def opened_by(self, person: str) -> dict[str, Account]:
        return self.accounts[self.holder(person)]

    def of_kind(self, person: str, kind: str) -> Account:
        """The account of that kind that the person opens; a new one where there was none."""
        return self.opened_by(person).setdefault(kind, Account(self.holder(person), kind))

    @property
    def all_accounts(self) -> list[Account]:
        return [each for kinds in self.accounts.values() for each in kinds.values()]

    def is_blocked(self, person: str) -> bool:
        return not self.frozen.keys().isdisjoint({self.holder(person), person, self.one_with(person)})

    def one_with(self, person: str) -> str:
        """Whom this person is a part of by now, or themselves."""
        while person in self.merges:
            person = self.merges[person].survivor
        return person

    def times_of(self, buyer: str) -> list[datetime]:
        """When they bought something, or somebody who was a part of them then."""
        person = self.one_with(buyer)
        return [each.at for each in self.receipts.values() if each.is_complete and each.person == person]

    def is_complete(self, receipt: str) -> bool:
        return receipt in self.receipts and self.receipts[receipt].is_complete

    def is_carried_out(self, back: Return) -> bool:
        return self.is_complete(back.receipt) and back.number in self.receipts[back.receipt].returns

    def open_lot(
        self,
        account: Account,
        points: int,
        activates_at: datetime | None,
        expires_at: datetime | None,
        *,
        of: Account | None = None,
    ) -> int:
        """A new lot, which pays what is owed first; gives its number. `of`: whose it is, if that was merged."""
        self.lots_made += 1
        paid = min(points, account.debt)
        account.debt -= paid
        account.lots[self.lots_made] = Lot(
            self.lots_made,
            points - paid,
            expires_at,
            activates_at,
            pending=activates_at is not None,
            came_from=None if of is account else of,
        )
        return self.lots_made
