"""What segmentation does on each event that it hears."""

from collections.abc import Sequence

from chassis.hears import Hears
from chassis.transaction import Transaction
from contracts.customers import CustomerErased, CustomersMerged, CustomersUnmerged
from contracts.limits import ReviewDecided
from contracts.loyalty import PointsAccrued, PointsReturned
from services.segmentation.erasure import forget_customers
from services.segmentation.merges import merge, of_buyers, of_their_records
from services.segmentation.purchases import count_purchases
from services.segmentation.rejections import reject_purchases
from services.segmentation.returns import take_back_returns

hears = Hears()


@hears.many(PointsAccrued)
async def points_accrued(events: Sequence[PointsAccrued], tx: Transaction) -> None:
    await count_purchases(tx, of_buyers(events))


@hears.many(PointsReturned)
async def points_returned(events: Sequence[PointsReturned], tx: Transaction) -> None:
    await take_back_returns(tx, await of_their_records(tx, events))


@hears.many(ReviewDecided)
async def reviews_decided(events: Sequence[ReviewDecided], tx: Transaction) -> None:
    await reject_purchases(tx, events)


@hears(CustomersMerged)
async def customers_merged(event: CustomersMerged, tx: Transaction) -> None:
    await merge(tx, event)


@hears(CustomersUnmerged)
async def customers_unmerged(event: CustomersUnmerged, tx: Transaction) -> None:
    await merge(tx, event)


@hears.many(CustomerErased)
async def customers_erased(events: Sequence[CustomerErased], tx: Transaction) -> None:
    await forget_customers(tx, {event.customer_id: event.erased_at for event in events})
