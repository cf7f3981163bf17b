"""What customers are told of their points, unasked.

One purchase is one message, which says what it earned and what was paid with points; so is one return, which says what
it took back and what it gave back. They are told at once, for the customer stands at the till. Everything else comes by
the clock or by somebody's hand, and waits for the customer's morning. Each message says what can be spent after it.
A purchase and its return are told to who bought, be the account their family's; all else to whose account it is. What
is not told, and why, stands in docs/messaging.md.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from chassis.transaction import Transaction
from contracts.limits import PointsCorrected
from contracts.loyalty import (
    OfAccount,
    OperationReversed,
    PointsAccrued,
    PointsActivated,
    PointsAdjusted,
    PointsExpiring,
    PointsReturned,
)
from services.messaging.acceptance import Asked
from services.messaging.texts import (
    Parameters,
    PointsAccruedParameters,
    PointsActivatedParameters,
    PointsCorrectedParameters,
    PointsExpiringParameters,
    PointsGivenParameters,
    PointsReturnedParameters,
)

LASTS: Final = timedelta(days=1)
"""News are not told later than this after the points moved: a topic that is read again, or a long outage, must not
flood people with what is past."""
Operation = PointsAccrued | PointsReturned | PointsAdjusted | OperationReversed | PointsCorrected


def purchase_news(tx: Transaction, event: PointsAccrued) -> Asked | None:
    """Tell what a purchase earned and was paid with: “+57 points for your purchase of 1,140 at store 367; balance 204”.

    None where it was withheld what it would have earned, and nothing was paid: the staff look at it, or the customer is
    blocked.
    """
    if event.withheld is not None and not event.points_paid:
        return None
    debt_paid = event.debt_paid or 0
    parameters = PointsAccruedParameters(
        points=event.points,
        balance=_balance(event),
        points_scale=event.points_scale,
        paid=event.points_paid or 0,
        debt_paid=debt_paid,
        activates_at=event.activates_at if event.points > debt_paid else None,
        of_family=event.buyer_id is not None,
        store_id=event.store_id,
        total_minor=event.total_minor,
        currency=event.currency,
    )
    return _told(tx, event, "points_accrued", str(event.operation_id), parameters, to=event.bought_by, by_day=False)


def return_news(tx: Transaction, event: PointsReturned) -> Asked:
    """Tell what a return took back and gave back: “−12 points for your return of 240 at store 367; balance 192”."""
    parameters = PointsReturnedParameters(
        points=event.points,
        balance=_balance(event),
        points_scale=event.points_scale,
        refunded=event.refunded,
        refund_burned=event.refund_burned,
        refund_debt_paid=event.refund_debt_paid or 0,
        owed=event.owed,
        of_family=event.buyer_id is not None,
        store_id=event.store_id,
        total_minor=event.total_minor,
        currency=event.currency,
        cause=event.cause,
    )
    return _told(tx, event, "points_returned", str(event.operation_id), parameters, to=event.bought_by, by_day=False)


def expiry_news(tx: Transaction, event: PointsExpiring) -> Asked:
    """Tell what burns soon, as long as it has not: “30 points burn on November 5 at 11:59 PM; balance 204”."""
    parameters = PointsExpiringParameters(
        points=event.points, expires_at=event.expires_at, balance=event.available, points_scale=event.points_scale
    )
    key = f"{event.account_id}:{event.expires_at.isoformat()}"
    return _told(tx, event, "points_expiring", key, parameters, expires_at=event.expires_at)


def activation_news(tx: Transaction, event: PointsActivated) -> Asked:
    """Tell what can be spent from now on: “57 points can be spent now; balance 204”."""
    parameters = PointsActivatedParameters(
        points=event.points, balance=event.available_after, points_scale=event.points_scale
    )
    key = f"{event.account_id}:{event.activated_at.isoformat()}"
    return _told(tx, event, "points_activated", key, parameters)


def adjustment_news(tx: Transaction, event: PointsAdjusted) -> Asked:
    """Tell what was given, and on which occasion: “+100 points for your birthday; balance 304”. Or what was taken.

    The reason and who did it are the staff's words, and are not told.
    """
    if event.points < 0:
        taken = PointsCorrectedParameters(
            points=event.points, balance=_balance(event), points_scale=event.points_scale, cause="taken"
        )
        return _told(tx, event, "points_corrected", str(event.operation_id), taken)
    debt_paid = event.debt_paid or 0
    is_left = event.points > debt_paid
    parameters = PointsGivenParameters(
        points=event.points,
        balance=_balance(event),
        points_scale=event.points_scale,
        occasion=event.occasion,
        debt_paid=debt_paid,
        activates_at=event.activates_at if is_left else None,
        expires_at=event.expires_at if is_left else None,
    )
    return _told(tx, event, "points_given", str(event.operation_id), parameters)


def reversal_news(tx: Transaction, event: OperationReversed) -> Asked:
    """Tell what was taken back of what the staff had given, or given back: “−100 points, a correction; balance 204”."""
    parameters = PointsCorrectedParameters(
        points=event.points,
        balance=_balance(event),
        points_scale=event.points_scale,
        cause="reversed",
        debt_paid=event.debt_paid or 0,
    )
    return _told(tx, event, "points_corrected", str(event.operation_id), parameters)


def correction_news(tx: Transaction, event: PointsCorrected) -> Asked | None:
    """Tell what a purchase earned after all, or did not: “+57 points after a check of a purchase; balance 204”.

    None where the decision changed no points.
    """
    if not event.points:
        return None
    debt_paid = event.debt_paid or 0
    parameters = PointsCorrectedParameters(
        points=event.points,
        balance=_balance(event),
        points_scale=event.points_scale,
        cause="purchase",
        owed=event.owed,
        debt_paid=debt_paid,
        activates_at=event.activates_at if event.points > debt_paid else None,
    )
    return _told(tx, event, "points_corrected", str(event.operation_id), parameters)


def _balance(event: Operation) -> int:
    """What can be spent, where that is said; what is on the account, where it was said before that was known."""
    return event.balance_after if event.available_after is None else event.available_after


def _told(
    tx: Transaction,
    event: OfAccount,
    template: str,
    key: str,
    parameters: Parameters,
    *,
    to: UUID | None = None,
    expires_at: datetime | None = None,
    by_day: bool = True,
) -> Asked:
    """To whose account it is, unless somebody else is named."""
    return Asked(
        by=event,
        message_key=f"{template}:{key}",
        customer_id=to or event.customer_id,
        template=template,
        parameters=parameters,
        purpose="service",
        buttons=(),
        expires_at=expires_at or tx.heard(event).time + LASTS,
        by_day=by_day,
    )
