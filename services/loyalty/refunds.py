"""Refunds: points that returned goods were paid with go back to the lots that they came from, with their dates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.loyalty import PointsRefunded
from services.loyalty import ledger, lots
from services.loyalty.accounts import Account
from services.loyalty.ledger import Operation, of_operation
from services.loyalty.lots import Moved, Movement, moved
from services.loyalty.purchases import KnownPurchase
from services.loyalty.terms import terms_now

PAYMENT: Final = "SELECT id, account_id, -points AS points FROM operations WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Payment:
    """The operation by which a purchase was paid with points."""

    id: UUID
    account_id: UUID
    points: int


@dataclass(frozen=True, slots=True)
class Refund:
    """What came back, and the points that did not, their time being over."""

    operation: Operation
    burned: int

    @property
    def debt_paid(self) -> int | None:
        """Of what came back, how many points paid a debt."""
        return -self.operation.debt or None


@dataclass(frozen=True, slots=True)
class GivingBack:
    """Where points go: back to lots, into a new lot because their time has ended, or nowhere for the same reason."""

    movements: Sequence[Movement]
    revived: int
    burned: int


async def payment_of(tx: Transaction, purchase: KnownPurchase) -> Payment | None:
    """The payment with points of a purchase, if there was one."""
    if purchase.payment_id is None:
        return None
    ((payment_id, account_id, points),) = await tx.sql(PAYMENT, purchase.payment_id)
    return Payment(payment_id, account_id, points)


async def refund(
    tx: Transaction,
    payment: Payment,
    account: Account,
    points: int,
    before: int,
    purchase: KnownPurchase,
    occurred_at: datetime,
) -> Refund:
    """Give so many points of a payment back to the locked account, `before` of them having come back already."""
    terms = await terms_now(tx)
    taken = await lots.taken_by(tx, payment.account_id, payment.id, back_to=account.id)
    nowhere = before - (payment.points + moved(taken))
    giving = give_back(taken, nowhere, points, tx.now, revives=terms.refund_revives_days is not None)
    operation = Operation(
        id=new_id(),
        type="refund",
        account=account,
        points=points - giving.burned,
        occurred_at=occurred_at,
        receipt_id=purchase.receipt_id,
        opens=giving.revived,
        expires_at=tx.now + timedelta(days=terms.refund_revives_days or 0) if giving.revived else None,
        reverses=payment.id,
        movements=giving.movements,
    )
    ledger.enter([operation])
    await ledger.post(tx, [operation])
    return Refund(operation, giving.burned)


def give_back(taken: Sequence[Moved], nowhere: int, points: int, now: datetime, *, revives: bool) -> GivingBack:
    """Where so many points of a payment go. `taken`, `nowhere`: see `lots.back_to`."""
    ended = {each.lot for each in taken if each.expires_at is not None and each.expires_at <= now}
    back = lots.back_to(taken, nowhere, points)
    over = moved(each for each in back if each.lot in ended)
    alive = [each for each in back if each.lot not in ended]
    return GivingBack(alive, over if revives else 0, 0 if revives else over)


def points_refunded(refunded: Refund, purchase: KnownPurchase, return_receipt: str) -> PointsRefunded:
    """The event of a refund."""
    operation = refunded.operation
    assert operation.reverses is not None
    return PointsRefunded(
        **of_operation(operation),
        points=operation.points,
        burned=refunded.burned,
        debt_paid=refunded.debt_paid,
        receipt_id=purchase.receipt_id,
        return_id=return_receipt,
        refunds=operation.reverses,
        refunded_at=operation.occurred_at,
    )
