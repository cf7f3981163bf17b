"""What the staff do: give points, take them, reverse what they did, and set a customer's own coefficients."""

from datetime import datetime, timedelta

from tests.services.loyalty.model.book import Book, ByHand, Refused
from tests.services.loyalty.model.lots import backwards
from tests.services.loyalty.model.merges import own, owns_vaguely


def give(
    book: Book, person: str, kind: str, points: int, activates_at: datetime | None, expires_at: datetime | None
) -> None:
    life = book.terms_now["lot_life_days"]
    if book.holder(person) in book.frozen:
        raise Refused("account_frozen")
    if expires_at is None and life is not None:
        expires_at = (activates_at or book.now) + timedelta(days=life)
    account = book.of_kind(person, kind)
    book.by_hand.append(ByHand(account, points, book.open_lot(account, points, activates_at, expires_at)))


def take(book: Book, person: str, kind: str, points: int) -> None:
    account = book.opened_by(person).get(kind)
    if account is None or points > account.available:
        raise Refused("not_enough_points")
    book.by_hand.append(ByHand(account, -points, taken=account.take(points, account.in_order(pending=False))))


def reverse(book: Book, index: int, points: int | None) -> None:
    done = book.by_hand[index]
    account = done.account.stands_for
    left = abs(done.points) - done.reversed
    if not left:
        raise Refused("already_reversed")
    points = points or left
    if points > left:
        raise Refused("reversed_too_much")
    if done.lot is not None:
        its_own = account.lots.get(done.lot)
        if its_own is None or its_own.free < points:
            raise Refused("points_spent")
        its_own.remaining -= points
        own(book, done.account, -points)
    else:
        for number, _ in done.taken:
            account.like(done.account, number)
        back = backwards(account, done.taken, done.back_in, done.reversed, points)
        owed = account.debt
        account.bring_back(back, done.back_in)
        own(book, done.account, points)
        if account.debt < owed:
            owns_vaguely(book, done.account)
    done.reversed += points


def set_coefficients(book: Book, person: str, kind: str, bonus: int | None, redemption: int | None) -> None:
    """In basis points; None: as it is."""
    known = book.opened_by(person).get(kind)
    before = (known.bonus, known.redemption) if known else (10_000, 10_000)
    after = (before[0] if bonus is None else bonus, before[1] if redemption is None else redemption)
    if before == after:
        raise Refused("coefficients_unchanged")
    account = book.of_kind(person, kind)
    account.bonus, account.redemption = after
