"""Lots of points, and the accounts that they are on."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

Taken = list[tuple[int, int]]
"""Points by the number of their lot, in the order in which they were taken."""


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
    kind: str
    lots: dict[int, Lot] = field(default_factory=dict)
    debt: int = 0
    spent: int = 0
    bonus: int = 10_000
    """Of what is earned, in basis points; `redemption`: of what a point stands for when paid with."""
    redemption: int = 10_000
    merged_into: "Account | None" = None

    @property
    def stands_for(self) -> "Account":
        return self.merged_into or self

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

    def like(self, original: "Account", number: int) -> Lot:
        """The lot that stands for the original account's one; empty where it is new."""
        if number not in self.lots:
            self.lots[number] = replace(original.lots[number], remaining=0, held=0, came_from=original)
        return self.lots[number]

    def bring_back(self, back: Taken, back_in: dict[int, int]) -> None:
        """To old lots; the first points that come pay what is owed."""
        for number, part in back:
            paid = min(part, self.debt)
            self.debt -= paid
            self.lots[number].remaining += part - paid
            back_in[number] = back_in.get(number, 0) + part - paid


def backwards(account: Account, taken: Taken, back_in: dict[int, int], done: int, points: int) -> Taken:
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
