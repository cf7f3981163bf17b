"""What a completed purchase is paid with, and what it earns."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from tests.services.loyalty.model.book import Book, Bought, Hold, Receipt, Review
from tests.services.loyalty.model.holds import standing, unhold
from tests.services.loyalty.model.lots import Account, Taken
from tests.services.loyalty.model.promises import begins_and_ends, broken, earned, earning_kind, payable, spread
from tests.services.loyalty.model.returns import carry_out_awaited


def buy(book: Book, purchases: Sequence[Bought]) -> list[str]:
    """What tills said together: payments are taken first, then everything earns in its order.

    At last what came back before is carried out; gives why some of it could not be.
    """
    new = [each for each in purchases if not book.is_complete(each.receipt)]
    payments = _pay(book, new)
    lives: dict[tuple[str, str], datetime] = {}
    for each in new:
        account, terms = _earn(book, each, payments.get(each.receipt)), book.terms_at(each.at)
        if terms["lots_live_on_with_activity"] and terms["lot_life_days"]:
            end = each.at + timedelta(days=terms["lot_life_days"])
            lives[account.owner, account.kind] = max(end, lives.get((account.owner, account.kind), end))
    for (owner, kind), end in lives.items():
        for lot in book.accounts[owner][kind].lots.values():
            if lot.remaining and lot.expires_at is not None and book.now < lot.expires_at < end:
                lot.expires_at = end
    return carry_out_awaited(book, {each.receipt for each in new})


def _pay(book: Book, purchases: Sequence[Bought]) -> dict[str, tuple[Hold, Taken]]:
    for each in purchases:
        for hold in standing(book, lambda hold, each=each: hold.receipt == each.receipt):  # type: ignore[misc]
            if hold.account.owner == book.holder(each.buyer) and (
                each.hold is None or book.holds[each.hold] is not hold
            ):
                unhold(hold, "released")
    payments = {}
    for each in purchases:
        if each.hold is not None:
            payments[each.receipt] = (book.holds[each.hold], _capture(book, each, book.holds[each.hold]))
    return payments


def _capture(book: Book, bought: Bought, hold: Hold) -> Taken:
    """So many points as the receipt can be paid with: of what is held the soonest-expiring, else what is there."""
    account = book.opened_by(bought.buyer).get(hold.account.kind)
    due = min(hold.points, ceil(min(hold.money, sum(bought.lines)) / hold.worth))
    if hold.state == "held" and hold.account is account:
        unhold(hold, "captured" if due else "released")
        held = {number for number, _ in hold.lots}
        in_order = [lot for lot in account.in_order(pending=False) if lot.number in held]
        taken, parts = [], dict(hold.lots)
        for lot in in_order:
            part = min(due, parts[lot.number])
            due -= part
            lot.remaining -= part
            taken += [(lot.number, part)] if part else []
        return taken
    if account is None or book.is_blocked(bought.buyer):
        return []
    return account.take(min(due, account.available), account.in_order(pending=False))


def _earn(book: Book, bought: Bought, payment: tuple[Hold, Taken] | None) -> Account:
    """Gives the account on which it earns."""
    terms = book.terms_at(bought.at)
    account = book.of_kind(bought.buyer, earning_kind(bought.store, terms))
    person = book.one_with(bought.buyer)
    receipt = Receipt(bought.receipt, bought.buyer, bought.lines, "completed", bought.at, bought.store, person, account)
    money = [0] * len(bought.lines)
    if payment is not None:
        hold, receipt.payment = payment
        receipt.paid_on = book.opened_by(bought.buyer).get(hold.account.kind)
        money = _paid_money(hold, bought, terms)
        receipt.paid = spread(sum(part for _, part in receipt.payment), money)
    over = broken(book.times_of(bought.buyer), bought.at, sum(bought.lines), terms)
    book.reviews += [Review(bought.receipt, bool(limit.get("hard"))) for limit in over]
    if book.is_blocked(bought.buyer):
        receipt.withheld = "account_frozen"
    elif any(limit.get("hard") for limit in over):
        receipt.withheld = "limit"
    receipt.paid_money, receipt.earned = money, [0] * len(bought.lines)
    if receipt.withheld is None:
        receipt.earned = earned(bought.lines, money, account, terms)
        account.spent += sum(bought.lines)
    if sum(receipt.earned):
        receipt.lot = book.open_lot(account, sum(receipt.earned), *begins_and_ends(bought.at, book.now, terms))
    book.receipts[bought.receipt] = receipt
    return account


def _paid_money(hold: Hold, bought: Bought, terms: dict[str, Any]) -> list[int]:
    most = payable(bought.lines, terms)
    return spread(min(hold.money, sum(bought.lines)), most if sum(most) >= hold.money else bought.lines)
