"""What the loyalty service says: every ledger operation as one event, and the newest balance of each customer."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from contracts.fields import (
    MAX_MINOR,
    Currency,
    CustomerId,
    Moment,
    MoneyMinor,
    Points,
    PointsCurrency,
    ReceiptId,
    StoreId,
    TerminalId,
)
from contracts.records import Event, Part, State

SignedPoints = Annotated[int, Field(ge=-MAX_MINOR, le=MAX_MINOR, examples=[204])]


class CategoryTotal(Part):
    """What one product category contributed to a receipt."""

    category: Annotated[str, StringConstraints(max_length=100), Field(examples=["BANANAS"])]
    total_minor: MoneyMinor


class _Operation(Event):
    operation_id: UUID
    """The ledger operation; one event an operation."""
    customer_id: CustomerId
    account_id: UUID
    """The account that the points went to or came from."""
    points_currency: PointsCurrency
    balance_after: SignedPoints
    """Available points after the operation; negative only where a setting allows debt."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class PointsAccrued(_Operation, type="loyalty.points_accrued.v1", topic="loyalty.events"):
    """A purchase was entered into the ledger, and this is what it earned (zero is possible)."""

    points: Points
    receipt_id: ReceiptId
    store_id: StoreId
    terminal_id: TerminalId
    completed_at: Moment
    """When the customer paid."""
    currency: Currency
    total_minor: MoneyMinor
    """What was paid, smallest unit of `currency`."""
    categories: list[CategoryTotal] = []
    """What was paid by product category, the uncategorised left out."""
    expires_at: Moment | None = None
    """When these points burn, if they do."""


class PointsReturned(_Operation, type="loyalty.points_returned.v1", topic="loyalty.events"):
    """A return or a cancellation took back what those lines had earned."""

    points: Points
    """Points taken back."""
    cause: Annotated[Literal["return", "cancellation"], Field(examples=["return"])]
    return_id: ReceiptId
    """The return's own receipt; for a cancellation the purchase's."""
    receipt_id: ReceiptId
    """The purchase's receipt."""
    store_id: StoreId
    returned_at: Moment
    currency: Currency
    total_minor: MoneyMinor
    """Money given back, smallest unit of `currency`."""
    categories: list[CategoryTotal] = []
    """Money given back by product category, the uncategorised left out."""


class CurrencyBalance(Part):
    """One currency of a customer."""

    points_currency: PointsCurrency
    available: SignedPoints
    """Points that can be spent now."""


class Balance(State, type="loyalty.balance.v1", topic="loyalty.balances"):
    """What the customer has."""

    customer_id: CustomerId
    balances: list[CurrencyBalance]
    as_of: Moment
    """When the last operation was entered."""

    @property
    def key(self) -> str:
        return str(self.customer_id)
