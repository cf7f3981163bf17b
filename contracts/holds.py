"""What the loyalty service says of purchases not completed yet: points held for them, and what became of it."""

from typing import Annotated, Literal

from pydantic import Field

from contracts.fields import Currency, CustomerId, Id, Moment, MoneyMinor, Points, ReceiptId, StoreId, TerminalId
from contracts.loyalty import OfAccount
from contracts.records import Event


class PointsHeld(OfAccount, type="loyalty.points_held.v1", topic="loyalty.events"):
    """Points are reserved for a purchase until it is completed, let go, or the hold times out."""

    hold_id: Id
    """The hold; the completed purchase names it."""
    receipt_id: ReceiptId
    """The purchase's receipt."""
    store_id: StoreId
    """Where the purchase is."""
    terminal_id: TerminalId
    """The till of the purchase."""
    points: Points
    """Points held."""
    worth_minor: MoneyMinor
    """Money that the till takes off the receipt for them."""
    currency: Currency
    """Money of the receipt."""
    held_at: Moment
    """When they were held."""
    expires_at: Moment
    """When the hold times out."""
    available_after: Points
    """Points that can be spent now."""


class HoldReleased(OfAccount, type="loyalty.hold_released.v1", topic="loyalty.events"):
    """Held points can be spent again."""

    hold_id: Id
    """The hold."""
    receipt_id: ReceiptId
    """The purchase's receipt."""
    points: Points
    """Points that were held."""
    because: Annotated[
        Literal["released", "timed_out", "not_captured", "accounts_changed"], Field(examples=["timed_out"])
    ]
    """By the till; by itself; the purchase was completed without it; the customer was merged or changed families."""
    released_at: Moment
    """When."""
    available_after: Points
    """Points that can be spent now."""


class PurchaseAbandoned(Event, type="loyalty.purchase_abandoned.v1", topic="loyalty.events"):
    """A quoted purchase came to nothing."""

    customer_id: CustomerId
    """Whose purchase it would have been."""
    receipt_id: ReceiptId
    """The receipt that it would have had."""
    store_id: StoreId
    """Where it was quoted."""
    terminal_id: TerminalId
    """By which till."""
    total_minor: MoneyMinor
    """What would have been paid."""
    currency: Currency
    """Money of the receipt."""
    quoted_at: Moment
    """When it was quoted last."""
    abandoned_at: Moment
    """When it was given up."""

    @property
    def key(self) -> str:
        return str(self.customer_id)
