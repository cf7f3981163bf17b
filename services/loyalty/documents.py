"""What operators send and get over HTTP."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from chassis.actor import Actor
from chassis.field_faults import N_
from chassis.idempotency import key_of
from contracts.fields import MAX_MINOR, Code
from contracts.loyalty import TermsChange
from services.loyalty.by_hand import GiftType, Why
from services.loyalty.holds import HoldState
from services.loyalty.tables import OperationType
from services.loyalty.terms import MAIN, Rules, Terms


class FreezeOut(BaseModel):
    """Since when nothing is earned on the account nor spent from it, and why."""

    since: datetime
    reason: str


class ExpiringOut(BaseModel):
    """Points that burn on one day (UTC)."""

    on: date
    points: int


class MonthOut(BaseModel):
    """Points that burn within one calendar month (UTC)."""

    month: str = Field(examples=["2026-12"])
    points: int


class ActivatingOut(BaseModel):
    """Points that can be spent from one day (UTC) on."""

    on: date
    points: int


class HoldOut(BaseModel):
    """Points that are reserved for a purchase."""

    hold_id: UUID
    receipt_id: str
    points: int
    worth_minor: int = Field(description="Money that the till takes off the receipt for them.")
    state: HoldState
    expires_at: datetime
    missing: int = Field(0, description="Points that were not there any more when the purchase should have taken them.")


class AccountOut(BaseModel):
    """An account and what is on it, in the smallest unit of its points."""

    account_id: UUID
    kind: str = Field(description="`main`, or an additional kind of the terms.", examples=["main"])
    name: str = Field(description="Of the kind, in the caller's language.")
    establishment: str | None = Field(description="Where its points are earned and spent; null: everywhere.")
    points_currency: str
    currency_name: str
    scale: int = Field(description="Digits behind the point: of 10^scale units is one whole point.")
    balance: int = Field(description="All points, those pending and held among them, less what is owed.")
    available: int = Field(description="Points that can be spent now.")
    pending: int = Field(description="Points that cannot be spent yet.")
    held: int = Field(description="Points that are reserved for purchases.")
    debt: int = Field(description="Points that are owed: the next accruals pay them.")
    worth_minor: int = Field(description="Money that the available points stand for.")
    bonus_coefficient: int = Field(description="The customer's own, in basis points: what is earned is multiplied.")
    redemption_coefficient: int = Field(description="The same of what points are worth when paid with.")
    level: str = Field(description="The level that the next purchase is priced by.")
    spent_minor: int = Field(description="Money spent so far, which decides the level, smallest unit.")
    opened_at: datetime
    activating: list[ActivatingOut] = Field(description="What can be spent from when, the soonest first.")
    expiring: list[ExpiringOut] = Field(description="What burns when, the soonest first, if it is not spent before.")
    expiring_by_month: list[MonthOut]
    holds: list[HoldOut]
    frozen: FreezeOut | None = Field(description="Where the customer is blocked; the balance stays as it is.")


class MemberOut(BaseModel):
    """A customer who shares another one's accounts."""

    customer_id: UUID
    since: datetime


class CustomerBalance(BaseModel):
    """What a customer has."""

    customer_id: UUID
    holder_id: UUID = Field(description="Whose accounts the customer's cards open: their own, or another one's.")
    accounts: list[AccountOut]
    members: list[MemberOut] = Field(description="Customers who share these accounts.")


class OperationOut(BaseModel):
    """One operation of the ledger."""

    id: UUID
    type: OperationType
    account_id: UUID
    customer_id: UUID
    points: int = Field(description="As it changed the account; negative where points were taken.")
    accrued: int = Field(description="`points` where they were given, else 0.")
    deducted: int = Field(description="Without its sign, where they were taken, else 0.")
    receipt_id: str | None
    card_number: str | None
    establishment: str | None = Field(
        description="Of the receipt's store, by the terms of that time; without a receipt the account's own."
    )
    store_id: str | None = Field(description="Of the receipt, as the four below.")
    terminal_id: str | None
    receipt_currency: str | None
    receipt_total_minor: int | None = Field(description="Smallest unit.")
    receipt_discount_minor: int | None
    reverses: UUID | None
    occurred_at: datetime
    entered_at: datetime
    actor: str = Field(
        description="Who did it by hand; else the till that told of it, or what led to it.",
        examples=["operator:anna", "till:367-04", "trigger:expiry"],
    )
    reason: str | None = Field(description="Why it was done by hand.", examples=["complaint"])
    comment: str | None = Field(description="For the staff alone.")
    idempotency_key: str | None = Field(
        description="Of the request by which it was done by hand, or the command's id; a purchase has its receipt."
    )
    reversed_by: list[UUID] = Field(description="The operations that took it back, in parts or whole.")


async def _key(request: Request) -> str | None:
    return key_of(request)


Key = Annotated[str | None, Depends(_key)]
"""The request's Idempotency-Key, as an endpoint's argument."""


class WhyForm(BaseModel):
    """Why something is done by hand."""

    model_config = ConfigDict(extra="forbid")

    reason: Code
    comment: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="For the staff alone; customers never see it."
    )

    def why(self, who: Actor, key: str | None) -> Why:
        return Why(who, self.reason, self.comment, key)


class AdjustmentForm(WhyForm):
    """Points given or taken by hand."""

    points: Annotated[int, Field(ge=-MAX_MINOR, le=MAX_MINOR, description="Negative to take points; not 0.")]
    type: GiftType = Field("manual", description="The occasion.")
    account: Code = Field(MAIN, description="The kind of account.")
    activates_at: AwareDatetime | None = Field(None, description="From when given points can be spent; else at once.")
    expires_at: AwareDatetime | None = Field(
        None, description="When given points burn; left out, as long after now as the terms say."
    )

    @field_validator("points")
    @classmethod
    def _some(cls, points: int) -> int:
        if points == 0:
            raise ValueError(N_("give or take at least one point"))
        return points


class ReversalForm(WhyForm):
    """What is taken back of an operation."""

    points: Annotated[int, Field(ge=1, le=MAX_MINOR)] | None = Field(
        None, description="How many of its points; left out, all that is left."
    )


class CoefficientsForm(WhyForm):
    """A customer's own coefficients, in basis points."""

    account: Code = Field(MAIN, description="The kind of account.")
    bonus_coefficient: Annotated[int, Field(ge=0, le=100_000)] | None = None
    redemption_coefficient: Annotated[int, Field(ge=0, le=100_000)] | None = None


class LineOut(BaseModel):
    """A line of a receipt and what it earned."""

    line_no: int
    product_id: str
    category: str | None
    quantity: str
    total_minor: int
    points: int = Field(description="What it earned.")
    paid_minor: int = Field(description="What of it was paid with points.")
    points_paid: int = Field(description="With how many points.")
    why: str = Field(description="The rule by which it earned that.", examples=["level:silver"])


class ReturnOut(BaseModel):
    """What came back of a purchase."""

    return_id: str
    returned_at: datetime
    store_id: str | None = Field(description="Where it came back; null where that was not kept yet.")
    terminal_id: str | None
    total_minor: int
    points: int = Field(description="Points taken back.")
    written_off: int = Field(description="Points that were spent already and given up.")
    refunded: int = Field(description="Points that the goods were paid with and that came back.")
    refund_burned: int = Field(description="Points of these whose time had ended and that did not come back.")


class PurchaseOut(BaseModel):
    """A receipt, what it earned and what came back of it."""

    receipt_id: str
    state: str = Field(examples=["completed"])
    customer_id: UUID = Field(description="Who bought.")
    card_number: str | None
    account_id: UUID
    operation_id: UUID | None
    store_id: str
    terminal_id: str
    quoted_at: datetime | None
    completed_at: datetime | None
    currency: str
    total_minor: int
    discount_minor: int | None
    points: int = Field(description="What it earned; of a quote, what it would earn.")
    level: str
    withheld: str | None = Field(description="Why it earned nothing, if it would have earned.")
    points_paid: int
    paid_minor: int = Field(description="Money that was taken off for them.")
    lines: list[LineOut]
    returns: list[ReturnOut]
    holds: list[HoldOut]


class TermsOut(Terms):
    """What the programme promises from a moment on."""

    changes: list[TermsChange] = Field(description="What is different from the terms before.")


class TermsForm(Rules):
    """The terms that are to be different; the others stay as they are, whatever default is named here."""

    in_force_from: AwareDatetime | None = None
    """Left out: from now on. Never in the past."""

    def asked(self) -> dict[str, Any]:
        """The terms that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set if name in Rules.model_fields}


class DifferenceOut(BaseModel):
    """Where a law of the ledger is broken."""

    law: str
    subject: str
    expected: int
    found: int


class Reconciliation(BaseModel):
    """Whether the ledger is right."""

    operations: int
    differences: list[DifferenceOut]
