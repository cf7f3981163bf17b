"""Who is blocked, and who shares whose accounts."""

from tests.services.loyalty.model.book import Book, Refused
from tests.services.loyalty.model.holds import let_go_of


def freeze(book: Book, person: str) -> None:
    book.frozen.setdefault(person, book.now)


def unfreeze(book: Book, person: str) -> None:
    since = book.frozen.pop(person, None)
    if since is None or book.terms_now["lots_age_while_frozen"]:
        return
    for account in book.accounts[person].values():
        for lot in account.lots.values():
            if lot.remaining and lot.expires_at is not None and lot.expires_at > since:
                lot.expires_at += book.now - since


def join(book: Book, person: str, holder: str) -> None:
    if person == holder:
        raise Refused("same_customer")
    if book.members.get(person, ("", ""))[0] == holder:
        return
    if person in book.members:
        raise Refused("in_a_family")
    if holder in book.members:
        raise Refused("holder_in_a_family")
    if any(each == (person, "family") for each in book.members.values()):
        raise Refused("has_a_family")
    let_go_of(book, person)
    book.members[person] = (holder, "family")
    _follow(book, person, person, holder)


def leave(book: Book, person: str, holder: str) -> None:
    if book.members.get(person) != (holder, "family"):
        raise Refused("not_a_member")
    let_go_of(book, holder)
    del book.members[person]
    _follow(book, person, holder, person)


def _follow(book: Book, person: str, before: str, holder: str) -> None:
    """Those who are part of the person go along."""
    for merged, done in book.merges.items():
        if done.survivor == person and book.members[merged] == (before, "merge"):
            book.members[merged] = (holder, "merge")
