"""What the loyalty service says: every ledger operation as one event, and the newest balance of each customer."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from contracts.fields import (
    MAX_MINOR,
    Code,
    Currency,
    CustomerId,
    Id,
    Means,
    Moment,
    MoneyMinor,
    Points,
    PointsCurrency,
    ReceiptId,
    StoreId,
    TerminalId,
)
from contracts.records import Event, Part, State

SignedPoints = Annotated[
    int,
    Field(ge=-MAX_MINOR, le=MAX_MINOR, examples=[204]),
    Means("Points, an integer in the smallest unit of their currency; may be negative."),
]


Actor = Annotated[
    str,
    StringConstraints(max_length=80),
    Means("Who acts: the kind (till, operator, bot, import), then their own name behind a colon."),
    Field(examples=["operator:anna"]),
]


class CategoryTotal(Part):
    """What one product category contributed to a receipt."""

    category: Annotated[str, StringConstraints(max_length=100), Field(examples=["BANANAS"])]
    """Product category, as on the lines."""
    total_minor: MoneyMinor
    """Sum of the totals of its lines."""


class _OfAccount(Event):
    customer_id: CustomerId
    """Whose points they are."""
    account_id: Id
    """The account that the points are on."""
    points_currency: PointsCurrency
    """Which points."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class _Operation(_OfAccount):
    operation_id: Id
    """The ledger operation; one event an operation."""
    balance_after: SignedPoints
    """Available points after the operation; negative only where a setting allows debt."""


class PointsAccrued(_Operation, type="loyalty.points_accrued.v1", topic="loyalty.events"):
    """A purchase was entered into the ledger, and this is what it earned (zero is possible)."""

    points: Points
    """Points earned."""
    receipt_id: ReceiptId
    """The purchase's receipt."""
    store_id: StoreId
    """Where the purchase was."""
    terminal_id: TerminalId
    """The till of the purchase."""
    completed_at: Moment
    """When the customer paid."""
    currency: Currency
    """Money of the receipt."""
    total_minor: MoneyMinor
    """What was paid."""
    categories: list[CategoryTotal] = Field(default=[])
    """What was paid by product category, the uncategorised left out."""
    expires_at: Moment | None = None
    """When these points burn, if they do."""
    withheld: Annotated[Code, Field(examples=["account_frozen"])] | None = None
    """Why a purchase that would have earned points earned none."""


class PointsReturned(_Operation, type="loyalty.points_returned.v1", topic="loyalty.events"):
    """A return or a cancellation took back what those lines had earned."""

    points: Points
    """Points taken back."""
    cause: Annotated[Literal["return", "cancellation"], Field(examples=["return"])]
    """What happened to the purchase."""
    return_id: ReceiptId
    """The return's own receipt; for a cancellation the purchase's."""
    receipt_id: ReceiptId
    """The purchase's receipt."""
    store_id: StoreId
    """Where the goods came back."""
    returned_at: Moment
    """When the goods came back, or the purchase was cancelled."""
    currency: Currency
    """Money of the receipt."""
    total_minor: MoneyMinor
    """Money given back."""
    categories: list[CategoryTotal] = Field(default=[])
    """Money given back by product category, the uncategorised left out."""
    written_off: Annotated[Points, Field(examples=[0])] = 0
    """Points that should have been taken back as well, but were spent already and given up."""


class PointsAdjusted(_Operation, type="loyalty.points_adjusted.v1", topic="loyalty.events"):
    """Somebody of the staff gave or took points by hand."""

    points: Annotated[SignedPoints, Field(examples=[100])]
    """Points given; negative where points were taken."""
    reason: Annotated[Code, Field(examples=["complaint"])]
    """Why, as a word that the chain chose."""
    actor: Actor
    """Who did it."""
    adjusted_at: Moment
    """When it was done."""
    expires_at: Moment | None = None
    """When given points burn, if they do."""


class PointsExpired(_Operation, type="loyalty.points_expired.v1", topic="loyalty.events"):
    """Points burned at the end of their time, nobody having spent them."""

    points: Annotated[Points, Field(examples=[30])]
    """Points that burned."""
    expired_at: Moment
    """When they left the account."""


class OperationReversed(_Operation, type="loyalty.operation_reversed.v1", topic="loyalty.events"):
    """An operation by hand was taken back whole; nothing is deleted in the ledger."""

    reverses: Id
    """The operation that was taken back."""
    points: Annotated[SignedPoints, Field(examples=[-100])]
    """As it changed the account: the opposite of what was taken back."""
    reason: Annotated[Code, Field(examples=["mistake"])]
    """Why, as a word that the chain chose."""
    actor: Actor
    """Who did it."""
    reversed_at: Moment
    """When it was done."""


class TermsChange(Part):
    """One term of the programme that is another one from now on."""

    term: Annotated[str, StringConstraints(max_length=64), Field(examples=["lot_life_days"])]
    """Name of the term."""
    before: Annotated[str, StringConstraints(max_length=10_000), Field(examples=["365"])]
    """What it was, as JSON."""
    after: Annotated[str, StringConstraints(max_length=10_000), Field(examples=["180"])]
    """What it is, as JSON."""


class TermsChanged(Event, type="loyalty.terms_changed.v1", topic="loyalty.events"):
    """The programme promises something else from a moment on; what was earned before stays as it was."""

    terms_id: Id
    """These terms; the record's key."""
    in_force_from: Moment
    """From when they hold."""
    changes: Annotated[list[TermsChange], Field(min_length=1)]
    """What is different."""
    actor: Actor
    """Who set them."""
    set_at: Moment
    """When they were set."""

    @property
    def key(self) -> str:
        return str(self.terms_id)


class AccountFrozen(_OfAccount, type="loyalty.account_frozen.v1", topic="loyalty.events"):
    """From now on nothing is earned on the account and nothing is spent from it; the balance stays as it is."""

    reason: Annotated[Code, Field(examples=["suspected_fraud"])]
    """Why the customer was blocked."""
    frozen_at: Moment
    """When the customer was blocked."""


class AccountUnfrozen(_OfAccount, type="loyalty.account_unfrozen.v1", topic="loyalty.events"):
    """The account is as it was before it was frozen."""

    unfrozen_at: Moment
    """When the block was taken back."""
    lots_prolonged_s: Annotated[int, Field(ge=0, examples=[0])]
    """By how much later its points burn, in seconds: as long as it was frozen, where the terms say that they do not
    age meanwhile; else 0."""


class CurrencyBalance(Part):
    """One currency of a customer."""

    points_currency: PointsCurrency
    """Which points."""
    available: SignedPoints
    """Points that can be spent now."""


class Balance(State, type="loyalty.balance.v1", topic="loyalty.balances"):
    """What the customer has."""

    customer_id: CustomerId
    """Whose points they are."""
    balances: list[CurrencyBalance]
    """One entry for each currency of points that the customer has ever had."""
    as_of: Moment
    """When the last operation was entered."""

    @property
    def key(self) -> str:
        return str(self.customer_id)
