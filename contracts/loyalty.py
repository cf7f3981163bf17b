"""What the loyalty service says: every ledger operation as one event, and the newest balance of each customer."""

from typing import Annotated, Literal
from uuid import UUID

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
    PointsScale,
    ReceiptId,
    StoreId,
    TerminalId,
)
from contracts.records import Event, State, part

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


@part
class CategoryTotal:
    """What one product category contributed to a receipt."""

    category: Annotated[str, StringConstraints(max_length=100), Field(examples=["BANANAS"])]
    """Product category, as on the lines."""
    total_minor: MoneyMinor
    """Sum of the totals of its lines."""


class OfAccount(Event):
    """An event about one account; it is keyed by the account's customer."""

    customer_id: CustomerId
    """Whose points they are."""
    account_id: Id
    """The account that the points are on."""
    points_currency: PointsCurrency
    """Which points."""
    points_scale: PointsScale | None = None
    """The scale of their currency, in whose smallest unit all points of the event are; left out where it is 0."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class _Operation(OfAccount):
    operation_id: Id
    """The ledger operation; one event an operation."""
    balance_after: SignedPoints
    """Points on the account after the operation, those among them that cannot be spent yet or are held; negative only
    where a setting allows debt."""
    available_after: Points | None = None
    """Of them, those that can be spent."""


class _OfPurchase(_Operation):
    buyer_id: CustomerId | None = None
    """Who bought, where the account is another customer's (a family); of merged customers the survivor."""

    @property
    def bought_by(self) -> UUID:
        """Who bought."""
        return self.buyer_id or self.customer_id


class PointsAccrued(_OfPurchase, type="loyalty.points_accrued.v1", topic="loyalty.events"):
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
    activates_at: Moment | None = None
    """From when these points can be spent, if not at once."""
    points_paid: Points | None = None
    """Points that the receipt was paid with in part."""
    points_missing: Points | None = None
    """Points that the till took money off for and that were not there any more, as in PointsRedeemed."""
    debt_paid: Points | None = None
    """Of the points earned, those that went to pay what was owed."""
    withheld: Annotated[Code, Field(examples=["account_frozen"])] | None = None
    """Why a purchase that would have earned points earned none."""


class PointsReturned(_OfPurchase, type="loyalty.points_returned.v1", topic="loyalty.events"):
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
    terminal_id: TerminalId | None = None
    """At which till."""
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
    owed: Annotated[Points, Field(examples=[0])] = 0
    """Of the points taken back, those that were spent already: the next accruals pay them."""
    refunded: Annotated[Points, Field(examples=[0])] = 0
    """Points that the goods had been paid with and that came back before, by an operation of their own: see
    PointsRefunded."""
    refund_burned: Annotated[Points, Field(examples=[0])] = 0
    """Points that would have come back as well, but their time had ended meanwhile."""
    refund_debt_paid: Points | None = None
    """Of the points that came back before, those that went to pay what was owed."""


class PointsRedeemed(_Operation, type="loyalty.points_redeemed.v1", topic="loyalty.events"):
    """A purchase was paid with points in part: what was held for it is taken."""

    points: Points
    """Points taken; fewer than were held where the receipt became smaller, and the others can be spent again."""
    receipt_id: ReceiptId
    """The purchase's receipt."""
    store_id: StoreId
    """Where the purchase was."""
    terminal_id: TerminalId
    """The till of the purchase."""
    hold_id: Id
    """The hold that was captured."""
    paid_minor: MoneyMinor
    """Money that the till took off the receipt for them."""
    currency: Currency
    """Money of the receipt."""
    missing: Annotated[Points, Field(examples=[0])] = 0
    """Points that should have been taken as well and were not there any more: the hold had timed out."""
    redeemed_at: Moment
    """When the customer paid."""


class PointsRefunded(_Operation, type="loyalty.points_refunded.v1", topic="loyalty.events"):
    """Goods that were paid with points came back: so do the points, to the lots that they came from."""

    points: Points
    """Points given back."""
    burned: Annotated[Points, Field(examples=[0])] = 0
    """Points that would have been given back as well, but their time had ended meanwhile."""
    receipt_id: ReceiptId
    """The purchase's receipt."""
    return_id: ReceiptId
    """The return's own receipt; for a cancellation the purchase's."""
    debt_paid: Points | None = None
    """Of the points given back, those that went to pay what was owed."""
    refunds: Id
    """The operation by which the points had been taken."""
    refunded_at: Moment
    """When the goods came back."""


class PointsActivated(OfAccount, type="loyalty.points_activated.v1", topic="loyalty.events"):
    """Points that were earned before can be spent from now on."""

    points: Points
    """Points that can be spent now and could not before."""
    activated_at: Moment
    """When."""
    available_after: Points
    """Points that can be spent now, all together."""


class PointsExpiring(OfAccount, type="loyalty.points_expiring.v1", topic="loyalty.events"):
    """Points will burn soon, if they are not spent before: time to tell the customer. Said once for each such day."""

    points: Points
    """Points that burn."""
    expires_at: Moment
    """When the first of them burn."""
    available: Points
    """Points that can be spent now, all together."""


class PointsMoved(_Operation, type="loyalty.points_moved.v1", topic="loyalty.events"):
    """Customers were merged, or a merge undone: points moved between their accounts, with their dates."""

    points: SignedPoints
    """As it changed this account."""
    other_account_id: Id
    """The account that they came from, or went to."""
    other_customer_id: CustomerId
    """Whose account that is."""
    cause: Annotated[Literal["merge", "unmerge"], Field(examples=["merge"])]
    """Why."""
    moved_at: Moment
    """When."""


class PointsAdjusted(_Operation, type="loyalty.points_adjusted.v1", topic="loyalty.events"):
    """Points were given or taken outside of purchases: by somebody of the staff, or on an occasion."""

    occasion: Annotated[
        Literal["manual", "registration", "birthday", "referral", "activity", "promotion", "gift", "compensation"],
        Field(examples=["compensation"]),
    ] = "manual"
    """The occasion."""
    points: Annotated[SignedPoints, Field(examples=[100])]
    """Points given; negative where points were taken."""
    reason: Annotated[Code, Field(examples=["complaint"])]
    """Why, as a word that the chain chose."""
    actor: Actor
    """Who did it."""
    adjusted_at: Moment
    """When it was done."""
    activates_at: Moment | None = None
    """From when given points can be spent, if not at once."""
    expires_at: Moment | None = None
    """When given points burn, if they do."""
    debt_paid: Points | None = None
    """Of given points, those that went to pay what was owed."""


class PointsExpired(_Operation, type="loyalty.points_expired.v1", topic="loyalty.events"):
    """Points burned at the end of their time, nobody having spent them."""

    points: Annotated[Points, Field(examples=[30])]
    """Points that burned."""
    expired_at: Moment
    """When they left the account."""


class OperationReversed(_Operation, type="loyalty.operation_reversed.v1", topic="loyalty.events"):
    """An operation by hand was taken back, whole or in part; nothing is deleted in the ledger."""

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
    debt_paid: Points | None = None
    """Of points given back, those that went to pay what was owed."""


Coefficient = Annotated[
    int, Field(ge=0, le=100_000, examples=[10_000]), Means("A coefficient in basis points: 10000 changes nothing.")
]


class CoefficientsChanged(OfAccount, type="loyalty.coefficients_changed.v1", topic="loyalty.events"):
    """A customer's own coefficients are others from now on; what was earned before stays as it was."""

    bonus_before: Coefficient
    """What was earned was multiplied by it."""
    bonus_after: Coefficient
    """What is earned is multiplied by it."""
    redemption_before: Coefficient
    """What points were worth when paid with was multiplied by it."""
    redemption_after: Coefficient
    """What points are worth when paid with is multiplied by it."""
    reason: Annotated[Code, Field(examples=["employee"])]
    """Why, as a word that the chain chose."""
    actor: Actor
    """Who changed them."""
    changed_at: Moment
    """When."""


class FamilyJoined(OfAccount, type="loyalty.family_joined.v1", topic="loyalty.events"):
    """Another customer's cards open this account from now on."""

    member_id: CustomerId
    """The customer who shares it."""
    actor: Actor
    """Who entered it."""
    joined_at: Moment
    """When."""


class FamilyLeft(OfAccount, type="loyalty.family_left.v1", topic="loyalty.events"):
    """Another customer's cards open this account no more."""

    member_id: CustomerId
    """The customer who shared it."""
    actor: Actor
    """Who entered it."""
    left_at: Moment
    """When."""


@part
class TermsChange:
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


class AccountFrozen(OfAccount, type="loyalty.account_frozen.v1", topic="loyalty.events"):
    """From now on nothing is earned on the account and nothing is spent from it; the balance stays as it is."""

    reason: Annotated[Code, Field(examples=["suspected_fraud"])]
    """Why the customer was blocked."""
    frozen_at: Moment
    """When the customer was blocked."""


class AccountUnfrozen(OfAccount, type="loyalty.account_unfrozen.v1", topic="loyalty.events"):
    """The account is as it was before it was frozen."""

    unfrozen_at: Moment
    """When the block was taken back."""
    lots_prolonged_s: Annotated[int, Field(ge=0, examples=[0])]
    """By how much later its points burn, in seconds: as long as it was frozen, where the terms say that they do not
    age meanwhile; else 0."""


@part
class CurrencyBalance:
    """One account of a customer."""

    points_currency: PointsCurrency
    """Which points."""
    available: SignedPoints
    """Points that can be spent now."""
    account_id: Id | None = None
    """The account."""
    kind: Annotated[Code, Field(examples=["main"])] = "main"
    """The kind of account."""
    pending: Annotated[Points, Field(examples=[0])] = 0
    """Points that cannot be spent yet."""
    held: Annotated[Points, Field(examples=[0])] = 0
    """Points that are reserved for purchases."""
    debt: Annotated[Points, Field(examples=[0])] = 0
    """Points that are owed: the next accruals pay them."""
    points_scale: PointsScale | None = None
    """The scale of their currency, in whose smallest unit these points are; left out where it is 0."""


class Balance(State, type="loyalty.balance.v1", topic="loyalty.balances"):
    """What the customer has."""

    customer_id: CustomerId
    """Whose points they are."""
    balances: list[CurrencyBalance]
    """One entry for each account that the customer has."""
    as_of: Moment
    """When the last operation was entered."""

    @property
    def key(self) -> str:
        return str(self.customer_id)
