"""What is one too many, and what the staff decide on it."""

from tests.services.loyalty.model.book import Book, Receipt, Refused
from tests.services.loyalty.model.merges import own, own_spent, owns_vaguely
from tests.services.loyalty.model.promises import begins_and_ends, earned
from tests.services.loyalty.model.returns import of_lines, take_earned


def decide(book: Book, index: int, verdict: str) -> None:
    review = book.reviews[index]
    if review.state != "open":
        raise Refused("review_decided")
    receipt = book.receipts[review.receipt]
    others = [each for each in book.reviews if each is not review and each.receipt == review.receipt]
    if verdict == "rejected":
        if receipt.withheld is None:
            _take_away(book, receipt)
    elif receipt.withheld == "limit" and not any(each.withholds for each in others):
        _credit(book, receipt)
    review.state = verdict


def _take_away(book: Book, receipt: Receipt) -> None:
    """All that it earned and that has not gone back."""
    assert receipt.account is not None
    take_earned(book, receipt, sum(receipt.earned) - of_lines(receipt.earned, receipt, receipt.back))
    money = sum(receipt.lines) - sum(receipt.back.values())
    receipt.account.stands_for.spent -= money
    own_spent(book, receipt.account, -money)
    receipt.earned, receipt.withheld = [0] * len(receipt.lines), "limit"


def _credit(book: Book, receipt: Receipt) -> None:
    """What has not come back, by the terms of its time and what has been spent by now."""
    original, terms = receipt.account, book.terms_at(receipt.at)
    assert original is not None
    account = original.stands_for
    if account.owner in book.frozen or receipt.person in book.frozen:
        raise Refused("account_frozen")
    receipt.earned, receipt.withheld = earned(receipt.lines, receipt.paid_money, account, terms), None
    points = sum(receipt.earned) - of_lines(receipt.earned, receipt, receipt.back)
    money = sum(receipt.lines) - sum(receipt.back.values())
    account.spent += money
    own_spent(book, original, money)
    if points:
        owed = account.debt
        receipt.lot = book.open_lot(account, points, *begins_and_ends(receipt.at, book.now, terms), of=original)
        own(book, original, points)
        if account.debt < owed:
            owns_vaguely(book, original)
