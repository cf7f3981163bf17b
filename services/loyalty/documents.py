"""What operators send and get over HTTP."""

from datetime import date, datetime
from itertools import pairwise
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from chassis.actor import Actor
from chassis.field_faults import N_
from contracts.fields import MAX_MINOR, Code, Currency
from contracts.loyalty import TermsChange
from services.loyalty.by_hand import Why
from services.loyalty.ledger import OperationType
from services.loyalty.terms import Level


class FreezeOut(BaseModel):
    """Since when nothing is earned on the account nor spent from it, and why."""

    since: datetime
    reason: str


class ExpiringOut(BaseModel):
    """Points that burn on one day (UTC)."""

    on: date
    points: int


class AccountOut(BaseModel):
    """An account and what is on it, in the smallest unit of its points."""

    account_id: UUID
    points_currency: str
    available: int
    level: str = Field(description="The level that the next purchase is priced by.")
    spent_minor: int = Field(description="Money spent so far, which decides the level, smallest unit.")
    opened_at: datetime
    expiring: list[ExpiringOut] = Field(description="What burns when, the soonest first, if it is not spent before.")
    frozen: FreezeOut | None = Field(description="Where the customer is blocked; the balance stays as it is.")


class CustomerBalance(BaseModel):
    """What a customer has."""

    customer_id: UUID
    accounts: list[AccountOut]


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
    store_id: str | None = Field(description="Of the receipt, as the three below.")
    terminal_id: str | None
    receipt_currency: str | None
    receipt_total_minor: int | None = Field(description="Smallest unit.")
    reverses: UUID | None
    occurred_at: datetime
    entered_at: datetime
    actor: str | None = Field(description="Who did it by hand.", examples=["operator:anna"])
    reason: str | None = Field(description="Why it was done by hand.", examples=["complaint"])
    comment: str | None = Field(description="For the staff alone.")
    reversed_by: UUID | None = Field(description="The operation that took it back.")


class WhyForm(BaseModel):
    """Why something is done by hand."""

    model_config = ConfigDict(extra="forbid")

    reason: Code
    comment: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="For the staff alone; customers never see it."
    )

    def why(self, who: Actor) -> Why:
        return Why(who, self.reason, self.comment)


class AdjustmentForm(WhyForm):
    """Points given or taken by hand."""

    points: Annotated[int, Field(ge=-MAX_MINOR, le=MAX_MINOR, description="Negative to take points; not 0.")]
    expires_at: AwareDatetime | None = Field(
        None, description="When given points burn; left out, as long after now as the terms say."
    )

    @field_validator("points")
    @classmethod
    def _some(cls, points: int) -> int:
        if points == 0:
            raise ValueError(N_("give or take at least one point"))
        return points


class LineOut(BaseModel):
    """A line of a receipt and what it earned."""

    line_no: int
    product_id: str
    category: str | None
    quantity: str
    total_minor: int
    points: int


class ReturnOut(BaseModel):
    """What came back of a purchase."""

    return_id: str
    returned_at: datetime
    total_minor: int
    points: int = Field(description="Points taken back.")
    written_off: int = Field(description="Points that were spent already and given up.")


class PurchaseOut(BaseModel):
    """A receipt, what it earned and what came back of it."""

    receipt_id: str
    state: str
    customer_id: UUID
    account_id: UUID
    operation_id: UUID
    store_id: str
    terminal_id: str
    completed_at: datetime
    currency: str
    total_minor: int
    points: int
    level: str
    withheld: str | None = Field(description="Why it earned nothing, if it would have earned.")
    lines: list[LineOut]
    returns: list[ReturnOut]


class WaitingOut(BaseModel):
    """A record that waits for what it needs."""

    id: int
    awaits: str = Field(description="What it waits for.", examples=["card:2900000000018"])
    topic: str
    partition: int
    offset: int
    since: datetime


class TermsOut(BaseModel):
    """What the programme promises from a moment on."""

    id: UUID
    in_force_from: datetime
    set_by: str = Field(examples=["operator:anna"])
    set_at: datetime
    points_currency: str
    point_worth_minor: int
    currencies: list[str]
    levels: list[Level]
    lot_life_days: int | None
    lots_age_while_frozen: bool
    returned_but_spent: Literal["other_lots", "write_off"]
    changes: list[TermsChange] = Field(description="What is different from the terms before.")


class TermsForm(BaseModel):
    """The terms that are to be different; the others stay as they are."""

    model_config = ConfigDict(extra="forbid")

    in_force_from: AwareDatetime | None = Field(None, description="Left out: from now on. Never in the past.")
    point_worth_minor: Annotated[int, Field(ge=1, le=MAX_MINOR, description="Money that one point stands for.")] = 1
    currencies: Annotated[list[Currency], Field(min_length=1, max_length=50)] = []
    levels: Annotated[list[Level], Field(min_length=1, max_length=50)] = []
    lot_life_days: Annotated[int, Field(ge=1, le=36_500)] | None = Field(None, description="null: points never burn.")
    lots_age_while_frozen: bool = True
    returned_but_spent: Literal["other_lots", "write_off"] = "other_lots"

    @field_validator("levels")
    @classmethod
    def _climbing(cls, levels: list[Level]) -> list[Level]:
        if levels[0].spent_minor_from != 0:
            raise ValueError(N_("the first level begins at spent_minor_from 0"))
        if any(lower.spent_minor_from >= higher.spent_minor_from for lower, higher in pairwise(levels)):
            raise ValueError(N_("each level begins above the one before it"))
        if len({level.code for level in levels}) != len(levels):
            raise ValueError(N_("two levels have the same code"))
        return levels

    def asked(self) -> dict[str, Any]:
        """The terms that were sent; the defaults above stand for those that were not."""
        return self.model_dump(exclude_unset=True, exclude={"in_force_from"})


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
