"""Loyalty's HTTP API: what customers have, what happened to a receipt, what waits, whether the ledger is right."""

from collections import defaultdict
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import sqlalchemy as sa
from fastapi import Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from chassis.actor import Actor, Who
from chassis.field_faults import N_
from chassis.pagination import Keyset, Page, Paging
from chassis.problems import Problem
from chassis.request_transaction import Tx, service_router
from chassis.tables import waiting
from chassis.transaction import Transaction
from contracts.fields import MAX_MINOR, Code
from services.loyalty import by_hand, reconciliation
from services.loyalty.by_hand import Why
from services.loyalty.ledger import OperationType
from services.loyalty.pricing import split
from services.loyalty.tables import accounts, operation_notes, operations, purchases, returns
from services.loyalty.terms import Level, all_terms

router = service_router(tags=["loyalty"])

EXPIRING = """
SELECT account_id, (expires_at AT TIME ZONE 'UTC')::date AS day, sum(remaining)::bigint FROM lots
WHERE account_id = ANY ($1::uuid[]) AND remaining > 0 AND expires_at IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
"""
_later = operations.alias()
OPERATIONS = sa.select(
    operations,
    operation_notes.c.actor,
    operation_notes.c.reason,
    operation_notes.c.comment,
    sa.select(_later.c.id)
    .where(_later.c.reverses == operations.c.id, _later.c.type == "reversal")
    .scalar_subquery()
    .label("reversed_by"),
).select_from(operations.outerjoin(operation_notes, operation_notes.c.operation_id == operations.c.id))
CustomerPath = Annotated[UUID, Path(description="The customer.")]


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
    points: int = Field(description="As it changed the account; negative where points were taken.")
    receipt_id: str | None
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

    in_force_from: datetime
    points_currency: str
    point_worth_minor: int
    currencies: list[str]
    levels: list[Level]
    lot_life_days: int | None
    lots_age_while_frozen: bool
    returned_but_spent: Literal["other_lots", "write_off"]


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


@router.get("/customers/{customer_id}/balance")
async def get_balance(customer_id: CustomerPath, tx: Tx) -> CustomerBalance:
    """What the customer has, by account."""
    rows = (await tx.execute(sa.select(accounts).where(accounts.c.customer_id == customer_id))).all()
    if not rows:
        raise _no_customer()
    terms = (await all_terms(tx))[0]
    expiring: dict[UUID, list[ExpiringOut]] = defaultdict(list)
    for account_id, on, points in await tx.sql(EXPIRING, [row.id for row in rows]):
        expiring[account_id].append(ExpiringOut(on=on, points=points))
    return CustomerBalance(
        customer_id=customer_id,
        accounts=[
            AccountOut(
                account_id=row.id,
                points_currency=row.points_currency,
                available=row.balance,
                level=terms.level_at(row.spent_minor).code,
                spent_minor=row.spent_minor,
                opened_at=row.opened_at,
                expiring=expiring[row.id],
                frozen=None if row.frozen_at is None else FreezeOut(since=row.frozen_at, reason=row.frozen_because),
            )
            for row in rows
        ],
    )


@router.get("/customers/{customer_id}/operations")
async def list_operations(customer_id: CustomerPath, tx: Tx, paging: Paging) -> Page[OperationOut]:
    """The customer's operations, newest first."""
    mine = sa.select(accounts.c.id).where(accounts.c.customer_id == customer_id)
    select = OPERATIONS.where(operations.c.account_id.in_(mine))
    rows, following = await Keyset([operations.c.id], descending=True).page(tx, select, paging)
    return Page(items=[OperationOut.model_validate(row._mapping) for row in rows], next=following)


@router.post("/customers/{customer_id}/operations", status_code=201)
async def adjust_points(customer_id: CustomerPath, form: AdjustmentForm, who: Who, tx: Tx) -> OperationOut:
    """Give the customer points by hand, or take them: soonest-expiring first, never more than there are."""
    done = await by_hand.adjust(tx, customer_id, form.points, form.expires_at, form.why(who))
    return await _operation(tx, done.id)


@router.post("/operations/{operation_id}/reversal", status_code=201)
async def reverse_operation(operation_id: UUID, form: WhyForm, who: Who, tx: Tx) -> OperationOut:
    """Take back what was done by hand, whole and once; the ledger keeps both."""
    done = await by_hand.reverse(tx, operation_id, form.why(who))
    return await _operation(tx, done.id)


@router.get("/purchases/{receipt_id}")
async def get_purchase(receipt_id: Annotated[str, Path(max_length=100)], tx: Tx) -> PurchaseOut:
    """A receipt: each line with what it earned, and what came back."""
    known = purchases.c.state != "awaited"
    row = (await tx.execute(sa.select(purchases).where(purchases.c.receipt_id == receipt_id, known))).first()
    if row is None:
        raise Problem(404, "purchase_not_found", "No purchase has this receipt id.", field="receipt_id")
    back = (await tx.execute(sa.select(returns).where(returns.c.receipt_id == receipt_id))).all()
    return PurchaseOut(**{**row._mapping, "lines": _lines(row), "returns": [_return(each) for each in back]})


@router.get("/waiting")
async def list_waiting(tx: Tx, paging: Paging) -> Page[WaitingOut]:
    """Purchases of cards that nobody knows yet, and returns of receipts that have not come, oldest first."""
    select = sa.select(*(waiting.c[name] for name in ("id", "awaits", "topic", "partition", "offset", "since")))
    rows, following = await Keyset([waiting.c.id]).page(tx, select, paging)
    items = [WaitingOut(**{**row._mapping, "awaits": _without_phone(row.awaits)}) for row in rows]
    return Page(items=items, next=following)


@router.get("/terms")
async def list_terms(tx: Tx) -> list[TermsOut]:
    """The programme's terms of all times, newest first."""
    return [
        TermsOut(
            in_force_from=each.in_force_from,
            points_currency=each.points_currency,
            point_worth_minor=each.point_worth_minor,
            currencies=sorted(each.currencies),
            levels=list(each.levels),
            lot_life_days=None if each.lot_life is None else each.lot_life.days,
            lots_age_while_frozen=each.lots_age_while_frozen,
            returned_but_spent=each.returned_but_spent,
        )
        for each in await all_terms(tx)
    ]


@router.get("/reconciliation")
async def reconcile(tx: Tx, most: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> Reconciliation:
    """Prove the ledger over the whole database; `differences` names each place where a law is broken."""
    counted = (await tx.execute(sa.select(sa.func.count()).select_from(operations))).scalar_one()
    found = await reconciliation.differences(tx, most=most)
    return Reconciliation(operations=counted, differences=[DifferenceOut(**each._asdict()) for each in found])


async def _operation(tx: Transaction, operation_id: UUID) -> OperationOut:
    row = (await tx.execute(OPERATIONS.where(operations.c.id == operation_id))).one()
    return OperationOut.model_validate(row._mapping)


def _no_customer() -> Problem:
    return Problem(404, "customer_not_found", "Loyalty knows no customer of this id.", field="customer_id")


def _lines(row: sa.Row[Any]) -> list[LineOut]:
    earned = split(row.points, [line[4] for line in row.lines])
    return [
        LineOut(line_no=no, product_id=product, category=category, quantity=quantity, total_minor=total, points=points)
        for (no, product, category, quantity, total), points in zip(row.lines, earned, strict=True)
    ]


def _return(row: sa.Row[Any]) -> ReturnOut:
    return ReturnOut(
        return_id=row.return_id,
        returned_at=row.returned_at,
        total_minor=row.total_minor,
        points=row.points,
        written_off=row.written_off,
    )


def _without_phone(awaits: str) -> str:
    """Phones are personal: the list shows the last four digits."""
    kind, _, identifier = awaits.partition(":")
    return f"phone:…{identifier[-4:]}" if kind == "phone" else awaits
