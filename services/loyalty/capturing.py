"""Capturing: a completed purchase takes the points that were held for it."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from uuid import UUID

from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.loyalty import PointsRedeemed
from contracts.purchases import PurchaseCompleted
from services.loyalty import holds, ledger, lots
from services.loyalty.accounts import Account, Opened
from services.loyalty.holds import Hold
from services.loyalty.ledger import Operation, of_operation
from services.loyalty.lots import Lot, Movement, moved
from services.loyalty.paying import least_points, paid_by_line
from services.loyalty.purchases import Payment, Seen
from services.loyalty.terms import Terms, terms_at

UNKNOWN_HOLD = "hold_id: no points were held for this receipt under this id; send the purchase with its own hold_id"


async def settle_holds(
    tx: Transaction,
    purchases: Sequence[PurchaseCompleted],
    opened: Mapping[str, Opened],
    seen: Mapping[str, Seen],
    terms: Sequence[Terms],
) -> dict[str, Payment]:
    """Take what was held for these purchases, by receipt; what was held for them and is not taken is given back.

    Only so many points are taken as stand for what the till could take off the receipt, which may have become smaller.
    A hold that has timed out takes what is still available, and the purchase's events tell how much was missing; so
    does one that was released, and one that stands on another account than the purchase's card opens, and that is left
    to time out. What was held before the customer was blocked is taken all the same. The operations are entered,
    not posted. A purchase that names a hold of another receipt is refused.
    """
    named = [purchase for purchase in purchases if purchase.hold_id is not None]
    held = [each.receipt_id for each in purchases if each.receipt_id in seen and seen[each.receipt_id].state == "held"]
    if not named and not held:
        return {}
    by_id = await holds.read(tx, [each.hold_id for each in named if each.hold_id is not None])
    captures = []
    for purchase in named:
        hold = by_id.get(purchase.hold_id) if purchase.hold_id else None
        if hold is None or hold.receipt_id != purchase.receipt_id:
            tx.refuse(purchase, "unknown_hold", UNKNOWN_HOLD)
        else:
            captures.append(_capture_of(purchase, hold, opened[purchase.key], terms))
    going = {each.receipt_id: each for each in purchases if not tx.is_refused(each)}
    taken = {each.hold.id for each in captures if each.stands and each.due}
    await _let_go(tx, [each for each in held if each in going], going, opened, taken)
    return await _capture(tx, captures)


@dataclass(frozen=True, slots=True)
class _Capture:
    """A purchase, the hold that it names, and the account of that kind that its card opens."""

    purchase: PurchaseCompleted
    hold: Hold
    account: Account | None
    is_frozen: bool
    """Whether it is blocked who bought, or whose account it is."""
    line_minor: Sequence[int]
    """What the till took off each line."""
    due: int
    """Points that stand for that; those of the hold at most, fewer where the receipt became smaller."""

    @property
    def stands(self) -> bool:
        """Whether it is this account's points that the hold holds still.

        It is another one's where the purchase was completed with another customer's card than the one that was shown
        first.
        """
        return self.hold.state == "held" and self.account is not None and self.account.id == self.hold.account_id


def _capture_of(purchase: PurchaseCompleted, hold: Hold, opened: Opened, terms: Sequence[Terms]) -> _Capture:
    line_minor = paid_by_line(hold.worth_minor, purchase.lines, terms_at(terms, purchase.completed_at))
    currency = terms_at(terms, hold.held_at).currency_of(hold.kind)
    due = min(hold.points, least_points(sum(line_minor), currency, hold.redemption_coefficient))
    account = opened.holder.accounts.get(hold.kind)
    is_frozen = opened.is_buyer_frozen or (account is not None and account.is_frozen)
    return _Capture(purchase, hold, account, is_frozen, line_minor, due)


async def _let_go(
    tx: Transaction,
    receipts: Sequence[str],
    bought: Mapping[str, PurchaseCompleted],
    opened: Mapping[str, Opened],
    taken: Set[UUID],
) -> None:
    going = []
    for hold in await holds.standing_for(tx, receipts):
        account = opened[bought[hold.receipt_id].key].holder.accounts.get(hold.kind)
        if hold.id not in taken and account is not None and account.id == hold.account_id:
            going.append((hold, account))
    await holds.let_go(tx, going, "not_captured")


async def _capture(tx: Transaction, captures: Sequence[_Capture]) -> dict[str, Payment]:
    standing = [(each.hold, each.account, each.due) for each in captures if each.account and each.stands and each.due]
    movements = await holds.take(tx, standing)
    left: dict[UUID, list[Lot]] = {}
    payments = {}
    for each in captures:
        taking = movements[each.hold.id] if each.hold.id in movements else await _late(tx, each, left)
        operation = None
        if each.account is not None and taking:
            operation = _payment(each.purchase, each.account, taking)
            ledger.enter([operation])
        payments[each.purchase.receipt_id] = Payment(
            each.hold.id, each.due, sum(each.line_minor), each.line_minor, operation
        )
    captured = [each.hold for each in captures if each.due and (each.stands or each.hold.state != "held")]
    await holds.mark_captured(tx, [(each, payments[each.receipt_id].missing) for each in captured])
    return payments


async def _late(tx: Transaction, capture: _Capture, left: dict[UUID, list[Lot]]) -> list[Movement]:
    """What can still be taken for a hold that stands no more on this account: nothing from who is blocked.

    `left` runs along: the batch may have several.
    """
    account = capture.account
    if account is None or capture.is_frozen:
        return []
    if account.id not in left:
        left[account.id] = lots.spendable(await lots.filled(tx, account.id))
    taking = lots.take(left[account.id], min(capture.due, account.available))
    left[account.id] = lots.without(left[account.id], taking)
    return taking


def _payment(purchase: PurchaseCompleted, account: Account, taking: Sequence[Movement]) -> Operation:
    return Operation(
        id=new_id(),
        type="order_payment",
        account=account,
        points=moved(taking),
        occurred_at=purchase.completed_at,
        receipt_id=purchase.receipt_id,
        movements=taking,
    )


def tell_redeemed(tx: Transaction, purchase: PurchaseCompleted, payment: Payment) -> None:
    """Say what a purchase was paid with; nothing where no point was left to be taken."""
    if payment.operation is None:
        return
    tx.say(
        PointsRedeemed(
            **of_operation(payment.operation),
            points=payment.points,
            receipt_id=purchase.receipt_id,
            store_id=purchase.store_id,
            terminal_id=purchase.terminal_id,
            hold_id=payment.hold_id,
            paid_minor=payment.paid_minor,
            currency=purchase.currency,
            missing=payment.missing,
            redeemed_at=purchase.completed_at,
        ),
        cause=purchase,
    )
