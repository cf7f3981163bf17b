"""Merges: what the one brings becomes the other's, and goes back when they are two again."""

from collections.abc import Iterable
from dataclasses import replace

from tests.services.loyalty.model.book import Book, Brought, Merge, Refused
from tests.services.loyalty.model.holds import let_go_of
from tests.services.loyalty.model.lots import Account


def merge(book: Book, survivor: str, merged: str) -> None:
    if book.members.get(survivor, ("", ""))[1] == "merge":
        raise Refused("survivor_merged")
    if book.holder(survivor) == merged:
        raise Refused("survivor_is_member")
    let_go_of(book, merged, book.holder(merged))
    brought = {
        kind: _bring(book, account, book.of_kind(survivor, kind)) for kind, account in book.accounts[merged].items()
    }
    was = book.members.pop(merged, None)
    followers = [each for each, (holder, _) in book.members.items() if holder == merged]
    book.merges[merged] = Merge(survivor, was, followers, brought)
    for each in followers:
        book.members[each] = (book.holder(survivor), book.members[each][1])
    book.members[merged] = (book.holder(survivor), "merge")


def unmerge(book: Book, survivor: str, merged: str) -> None:
    """Everybody opens again what they opened before.

    The lots are then those of the real ledger: which of them pay what is missing is nobody's promise.
    """
    done = book.merges[merged]
    brought = done.brought.values()
    if book.members.get(survivor, ("", ""))[1] == "merge" or any(each.into.merged_into for each in brought):
        raise Refused("survivor_merged")
    if any((each.back or 0) > sum(lot.remaining for lot in each.into.lots.values()) for each in brought):
        raise Refused("merge_spent")
    holder = done.brought["main"].into.owner
    let_go_of(book, holder)
    for each in brought:
        for part in each.pointing:
            part.merged_into = None if part is each.account else each.account
    del book.members[merged]
    if done.was is not None:
        book.members[merged] = (book.holder(done.was[0]), done.was[1])
    for follower in done.followers:
        if follower in book.members and book.members[follower][0] == holder:
            book.members[follower] = (merged, book.members[follower][1])
    del book.merges[merged]


def own(book: Book, account: Account, change: int) -> None:
    """By so much something of the account's own changed what it stands for."""
    for brought in _brought_by(book, account):
        brought.own += change


def owns_vaguely(book: Book, account: Account) -> None:
    """Something of its own has paid what all together owed: whose debt that was is nobody's promise."""
    for brought in _brought_by(book, account):
        brought.is_plain = False


def own_spent(book: Book, account: Account, change: int) -> None:
    for brought in _brought_by(book, account):
        brought.spent += change


def _bring(book: Book, account: Account, into: Account) -> Brought:
    """All points, each lot with its dates, what is owed and what was spent."""
    pointing = [each for each in book.all_accounts if each is account or each.merged_into is account]
    for part in pointing:
        part.merged_into = into
        if part is not account:
            book.merges[part.owner].brought[part.kind].is_plain = False
    points, is_plain = sum(lot.remaining for lot in account.lots.values()), not account.debt and not into.debt
    brought = Brought(account, into, pointing, points, account.spent, is_plain)
    for lot in account.lots.values():
        if lot.remaining:
            theirs = into.like(account, lot.number)
            remaining = theirs.remaining + lot.remaining
            into.lots[lot.number] = replace(lot, remaining=remaining, held=theirs.held, came_from=theirs.came_from)
            lot.remaining = 0
    into.debt, account.debt = into.debt + account.debt, 0
    into.spent, account.spent = into.spent + account.spent, 0
    return brought


def _brought_by(book: Book, account: Account) -> Iterable[Brought]:
    while account.merged_into is not None:
        brought = book.merges[account.owner].brought[account.kind]
        yield brought
        account = brought.into
