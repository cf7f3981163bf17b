"""What customers are told of their purchases, unasked: what a purchase earned, what a return took back."""

from datetime import timedelta
from typing import Final

from chassis.transaction import Transaction
from contracts.loyalty import PointsAccrued, PointsReturned
from services.messaging.acceptance import Asked
from services.messaging.texts import PointsAccruedParameters, PointsReturnedParameters

LASTS: Final = timedelta(days=1)
"""News of a purchase is not told later than this after the points moved: a topic that is read again, or a long
outage, must not flood people with what is past."""


def purchase_news(tx: Transaction, event: PointsAccrued) -> Asked:
    """Tell what a purchase earned: “+57 points for your purchase of 1,140 at store 367; balance 204”."""
    return Asked(
        by=event,
        message_key=f"points_accrued:{event.operation_id}",
        customer_id=event.customer_id,
        template="points_accrued",
        parameters=PointsAccruedParameters(
            points=event.points,
            balance=event.balance_after,
            store_id=event.store_id,
            total_minor=event.total_minor,
            currency=event.currency,
        ),
        purpose="service",
        buttons=(),
        expires_at=tx.heard(event).time + LASTS,
    )


def return_news(tx: Transaction, event: PointsReturned) -> Asked:
    """Tell what a return took back: “−12 points for your return of 240 at store 367; balance 192”."""
    return Asked(
        by=event,
        message_key=f"points_returned:{event.operation_id}",
        customer_id=event.customer_id,
        template="points_returned",
        parameters=PointsReturnedParameters(
            points=event.points,
            balance=event.balance_after,
            store_id=event.store_id,
            total_minor=event.total_minor,
            currency=event.currency,
            cause=event.cause,
        ),
        purpose="service",
        buttons=(),
        expires_at=tx.heard(event).time + LASTS,
    )
