"""Before a purchase is completed: what a till is told, and points held for it."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from math import floor

from tests.services.loyalty.model.book import Book, Hold, Receipt, Refused
from tests.services.loyalty.model.lots import Account
from tests.services.loyalty.model.promises import broken, earned, earning_kind, opens_in, payable, worth_of_point


def quote(
    book: Book, name: str, buyer: str, lines: Sequence[int], store: str
) -> tuple[int, dict[str, tuple[int, int]]]:
    """The points that it would earn; by account the most that can be paid with, and the money that these stand for."""
    _refuse_beyond_limits(book, buyer, lines)
    known = book.receipts.get(name)
    if known is not None and known.state not in ("quoted", "abandoned"):
        raise Refused("points_held" if known.state == "held" else "purchase_completed")
    book.receipts[name] = Receipt(name, buyer, lines, "quoted", book.now, store)
    earning = book.of_kind(buyer, earning_kind(store, book.terms_now))
    if book.is_blocked(buyer):
        return 0, {}
    pays = {}
    for kind, account in book.opened_by(buyer).items():
        if opens_in(kind, store, book.terms_now):
            points = most(book, account, lines)
            pays[kind] = points, floor(points * worth_of_point(account))
    return sum(earned(lines, [0] * len(lines), earning, book.terms_now)), pays


def hold(book: Book, name: str, points: int, kind: str) -> Hold:
    receipt, terms = book.receipts[name], book.terms_now
    account = book.opened_by(receipt.buyer).get(kind)
    if account is None or not opens_in(kind, receipt.store, terms):
        raise Refused("account_not_found")
    if book.is_blocked(receipt.buyer):
        raise Refused("account_frozen")
    if receipt.state != "quoted":
        words = {"held": "points_held", "abandoned": "purchase_abandoned"}
        raise Refused(words.get(receipt.state, "purchase_completed"))
    if points < terms["payable_min_points"] or points % terms["payable_step_points"]:
        raise Refused("points_not_payable")
    if points > account.available:
        raise Refused("not_enough_points")
    if points > most(book, account, receipt.lines):
        raise Refused("too_many_points")
    _refuse_beyond_limits(book, receipt.buyer, receipt.lines)
    lots = account.plan(points, account.in_order(pending=False))
    for number, part in lots:
        account.lots[number].held += part
    placed = Hold(
        name, account, points, worth_of_point(account), lots, book.now + timedelta(seconds=terms["hold_life_s"])
    )
    book.holds.append(placed)
    receipt.state = "held"
    return placed


def release(book: Book, name: str) -> None:
    released = standing(book, lambda hold: hold.receipt == name)
    if not released:
        raise Refused("nothing_held")
    let_go(book, released)


def time_out(book: Book) -> None:
    for hold in standing(book, lambda hold: hold.ends_at <= book.now):
        unhold(hold, "timed_out")
        if book.receipts[hold.receipt].state == "held":
            book.receipts[hold.receipt].state = "abandoned"


def abandon(book: Book) -> None:
    life = timedelta(seconds=book.terms_now["quote_life_s"])
    for receipt in book.receipts.values():
        if receipt.state == "quoted" and receipt.at <= book.now - life:
            receipt.state = "abandoned"


def most(book: Book, account: Account, lines: Sequence[int]) -> int:
    terms, worth = book.terms_now, worth_of_point(account)
    points = min(floor(sum(payable(lines, terms)) / worth), account.available) if worth else 0
    points -= points % terms["payable_step_points"]
    return points if points >= terms["payable_min_points"] else 0


def _refuse_beyond_limits(book: Book, buyer: str, lines: Sequence[int]) -> None:
    if any(limit.get("hard") for limit in broken(book.times_of(buyer), book.now, sum(lines), book.terms_now)):
        raise Refused("limit_reached")


def standing(book: Book, which: Callable[[Hold], bool]) -> list[Hold]:
    return [hold for hold in book.holds if hold.state == "held" and which(hold)]


def unhold(hold: Hold, state: str) -> None:
    hold.state = state
    for number, part in hold.lots:
        hold.account.lots[number].held -= part


def let_go(book: Book, holds: Iterable[Hold]) -> None:
    for hold in holds:
        unhold(hold, "released")
        if book.receipts[hold.receipt].state == "held":
            book.receipts[hold.receipt].state = "quoted"
            book.receipts[hold.receipt].at = book.now


def let_go_of(book: Book, *people: str) -> None:
    """What is held on their own accounts."""
    let_go(book, standing(book, lambda hold: hold.account.owner in people))
