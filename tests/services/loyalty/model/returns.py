"""Returns and cancellations: what was paid with points comes back, then what was earned goes back."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from tests.services.loyalty.model.book import Book, Receipt, Refused, Return
from tests.services.loyalty.model.lots import Account, backwards
from tests.services.loyalty.model.merges import own, own_spent, owns_vaguely
from tests.services.loyalty.model.promises import share

PATIENCE = timedelta(days=30)


def come_back(book: Book, back: Return) -> None:
    """What comes before its purchase waits for it; what was carried out changes nothing."""
    if not book.is_complete(back.receipt):
        book.waiting.append((book.now, back))
    elif not book.is_carried_out(back):
        _carry_out(book, book.receipts[back.receipt], back)


def carry_out_awaited(book: Book, receipts: Collection[str]) -> list[str]:
    """What waited for these, in the order in which it came; gives why some could not be."""
    awaited = [back for _, back in book.waiting if back.receipt in receipts]
    book.waiting = [(since, back) for since, back in book.waiting if back.receipt not in receipts]
    refused = []
    for back in awaited:
        try:
            come_back(book, back)
            book.waited += 1
        except Refused as why:
            refused.append(str(why))
    return refused


def give_up(book: Book) -> list[str]:
    """What has waited too long is refused."""
    waiting = [(since, back) for since, back in book.waiting if since > book.now - PATIENCE]
    given_up = len(book.waiting) - len(waiting)
    book.waiting = waiting
    return ["waited_too_long"] * given_up


def _carry_out(book: Book, receipt: Receipt, returned: Return) -> None:
    money, totals = returned.money, dict(enumerate(receipt.lines, 1))
    if money is None:
        now_back = totals
    else:
        _refuse(receipt, money, totals)
        now_back = {no: receipt.back.get(no, 0) + money.get(no, 0) for no in totals}
    receipt.returns.add(returned.number)
    earned = of_lines(receipt.earned, receipt, now_back) - of_lines(receipt.earned, receipt, receipt.back)
    paid = of_lines(receipt.paid, receipt, now_back) - of_lines(receipt.paid, receipt, receipt.back)
    money_back = sum(now_back.values()) - sum(receipt.back.values())
    receipt.back = dict(now_back)
    whole = now_back == totals
    receipt.state = "cancelled" if money is None else "returned" if whole else "partly_returned"
    if paid:
        _refund(book, receipt, paid)
    take_earned(book, receipt, earned)
    if receipt.withheld is None:
        account = _earned_on(receipt)
        account.stands_for.spent -= money_back
        own_spent(book, account, -money_back)


def _refuse(receipt: Receipt, money: dict[int, int], totals: dict[int, int]) -> None:
    if receipt.state == "cancelled":
        raise Refused("purchase_cancelled")
    for no, part in money.items():
        if no not in totals:
            raise Refused("unknown_line")
        if receipt.back.get(no, 0) + part > totals[no]:
            raise Refused("returned_too_much")


def _earned_on(receipt: Receipt) -> Account:
    assert receipt.account is not None
    return receipt.account


def of_lines(points: Sequence[int], receipt: Receipt, back: dict[int, int]) -> int:
    """Of the points of each line, if there are any, those that go with what is back."""
    if not points:
        return 0
    lines = zip(points, receipt.lines, strict=True)
    return sum(share(part, back.get(no, 0), total) for no, (part, total) in enumerate(lines, 1) if total)


def take_earned(book: Book, receipt: Receipt, points: int) -> None:
    original = _earned_on(receipt)
    account, way = original.stands_for, book.terms_now["returned_but_spent"]
    before = account.balance
    its_own = account.lots.get(receipt.lot or 0)
    if its_own is not None:
        points -= sum(part for _, part in account.take(points, [its_own]))
    if way != "write_off":
        points -= sum(part for _, part in account.take(points, account.in_order(pending=True)))
    if way == "debt":
        account.debt += points
    own(book, original, account.balance - before)


def _refund(book: Book, receipt: Receipt, points: int) -> None:
    """To the lots that it came from, those that live longest first; what has burned meanwhile may live again."""
    original = receipt.paid_on
    assert original is not None
    account, days = original.stands_for, book.terms_now["refund_revives_days"]
    before, revived, back = account.balance, 0, []
    for number, _ in receipt.payment:
        account.like(original, number)
    for number, part in backwards(account, receipt.payment, receipt.back_in, receipt.refunded, points):
        lot = account.lots[number]
        if lot.expires_at is None or lot.expires_at > book.now:
            back.append((number, part))
        elif days is not None:
            revived += part
    owed = account.debt
    if revived:
        book.open_lot(account, revived, None, book.now + timedelta(days=days), of=original)
    account.bring_back(back, receipt.back_in)
    if account.debt < owed:
        owns_vaguely(book, original)
    receipt.refunded += points
    own(book, original, account.balance - before)
