"""Merges: what the one brings becomes the other's, and goes back when they are two again."""

from collections.abc import Iterable
from dataclasses import replace

from tests.services.loyalty.model.book import Book, Merge, Refused
from tests.services.loyalty.model.holds import let_go_of
from tests.services.loyalty.model.lots import Account


def merge(book: Book, survivor: str, merged: str) -> None:
    if book.members.get(survivor, ("", ""))[1] == "merge":
        raise Refused("survivor_merged")
    if book.holder(survivor) == merged:
        raise Refused("survivor_is_member")
    account, into = book.accounts[merged], book.opened_by(survivor)
    let_go_of(book, account, book.opened_by(merged))
    pointing = [each for each in book.accounts.values() if each is account or each.merged_into is account]
    for part in pointing:
        part.merged_into = into
        if part is not account:
            book.merges[part.owner].is_plain = False
    book.merges[merged] = Merge(
        survivor,
        into,
        book.members.pop(merged, None),
        [each for each, (holder, _) in book.members.items() if holder == merged],
        pointing,
        sum(lot.remaining for lot in account.lots.values()),
        account.spent,
        is_plain=not account.debt and not into.debt,
    )
    _bring(account, into)
    for each in book.merges[merged].followers:
        book.members[each] = (book.holder(survivor), book.members[each][1])
    book.members[merged] = (book.holder(survivor), "merge")


def unmerge(book: Book, survivor: str, merged: str) -> int | None:
    """Everybody opens again what they opened before; gives the points that go back, None: the promise is not plain.

    The lots are then those of the real ledger: which of them pay what is missing is nobody's promise.
    """
    done = book.merges[merged]
    if book.members.get(survivor, ("", ""))[1] == "merge" or done.into.merged_into is not None:
        raise Refused("survivor_merged")
    back = max(0, done.brought + done.own)
    is_plain = done.is_plain and not done.into.debt
    if is_plain and back > sum(lot.remaining for lot in done.into.lots.values()):
        raise Refused("merge_spent")
    let_go_of(book, done.into)
    for part in done.pointing:
        part.merged_into = None if part.owner == merged else book.accounts[merged]
    del book.members[merged]
    if done.was is not None:
        book.members[merged] = (book.holder(done.was[0]), done.was[1])
    for each in done.followers:
        if each in book.members and book.members[each][0] == done.into.owner:
            book.members[each] = (merged, book.members[each][1])
    del book.merges[merged]
    return back if is_plain else None


def own(book: Book, account: Account, change: int) -> None:
    """By so much something of the account's own changed what it stands for."""
    for done in _merges_of(book, account):
        done.own += change


def owns_vaguely(book: Book, account: Account) -> None:
    """Something of its own has paid what all together owed: whose debt that was is nobody's promise."""
    for done in _merges_of(book, account):
        done.is_plain = False


def own_spent(book: Book, account: Account, change: int) -> None:
    for done in _merges_of(book, account):
        done.spent += change


def _bring(account: Account, into: Account) -> None:
    """All points, each lot with its dates, what is owed and what was spent."""
    for lot in account.lots.values():
        if lot.remaining:
            theirs = into.like(account, lot.number)
            remaining = theirs.remaining + lot.remaining
            into.lots[lot.number] = replace(lot, remaining=remaining, held=theirs.held, came_from=theirs.came_from)
            lot.remaining = 0
    into.debt, account.debt = into.debt + account.debt, 0
    into.spent, account.spent = into.spent + account.spent, 0


def _merges_of(book: Book, account: Account) -> Iterable[Merge]:
    while account.merged_into is not None:
        done = book.merges[account.owner]
        yield done
        account = done.into
