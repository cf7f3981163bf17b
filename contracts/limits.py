"""What the loyalty service says of its limits against fraud: what was flagged for the staff, and what they decided."""

from typing import Annotated, Literal

from pydantic import Field

from contracts.fields import MAX_MINOR, Code, CustomerId, Id, Moment, Points, ReceiptId, StoreId, TerminalId
from contracts.loyalty import Actor, CategoryTotal, SignedPoints, _Operation
from contracts.records import Event

LimitCode = Annotated[Code, Field(examples=["till_day"])]
Counted = Annotated[int, Field(ge=0, le=1000 * MAX_MINOR, examples=[4])]


class _OfReview(Event):
    review_id: Id
    """The review."""
    customer_id: CustomerId
    """Who bought."""
    limit: LimitCode
    """The limit's code in the terms."""
    receipt_id: ReceiptId
    """The purchase's receipt."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class ReviewOpened(_OfReview, type="loyalty.review_opened.v1", topic="loyalty.events"):
    """A purchase or a return broke a limit: the staff look at it."""

    per: Annotated[Literal["card", "customer", "terminal", "card_at_terminal"], Field(examples=["terminal"])]
    """Whose deeds are counted together."""
    measure: Annotated[
        Literal["purchases", "points_earned", "points_spent", "returns", "receipt_total_minor", "unmatched_returns"],
        Field(examples=["purchases"]),
    ]
    """What is counted."""
    counted: Counted
    """So much was counted, this one among it."""
    most: Annotated[Counted, Field(examples=[3])]
    """So much is allowed."""
    hard: Annotated[bool, Field(examples=[False])]
    """Whether the purchase earns nothing unless somebody approves of it."""
    return_id: ReceiptId | None = None
    """The return's own receipt, where it was a return; for a cancellation the purchase's."""
    store_id: StoreId
    """Where it was."""
    terminal_id: TerminalId
    """The till."""
    occurred_at: Moment
    """When, by the till's clock."""
    opened_at: Moment
    """When it was flagged."""


class ReviewDecided(_OfReview, type="loyalty.review_decided.v1", topic="loyalty.events"):
    """Somebody of the staff has decided whether what broke a limit was right."""

    verdict: Annotated[Literal["approved", "rejected"], Field(examples=["rejected"])]
    """The decision."""
    reason: Annotated[Code, Field(examples=["cashiers_own_card"])]
    """Why, as a word that the chain chose."""
    actor: Actor
    """Who decided."""
    correction_id: Id | None = None
    """The operation by which it changed what the purchase had earned, if it did."""
    rejected_categories: list[CategoryTotal] | None = None
    """Where a purchase is rejected, and for ever: what was paid by product category, the uncategorised left out. Left
    out where it is approved, or a return was looked at."""
    decided_at: Moment
    """When."""


class PointsCorrected(_Operation, type="loyalty.points_corrected.v1", topic="loyalty.events"):
    """A decision on a flagged purchase changed what it earned: taken back, or credited after all."""

    points: Annotated[SignedPoints, Field(examples=[-57])]
    """As it changed the account."""
    receipt_id: ReceiptId
    """The purchase's receipt."""
    review_id: Id
    """The review."""
    written_off: Annotated[Points, Field(examples=[0])] = 0
    """Points that should have been taken back as well, but were spent already and given up."""
    owed: Annotated[Points, Field(examples=[0])] = 0
    """Of the points taken back, those that were spent already: the next accruals pay them."""
    activates_at: Moment | None = None
    """From when credited points can be spent, if not at once."""
    expires_at: Moment | None = None
    """When credited points burn, if they do."""
    debt_paid: Points | None = None
    """Of credited points, those that went to pay what was owed."""
    corrected_at: Moment
    """When."""
