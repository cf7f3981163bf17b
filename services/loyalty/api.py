"""Loyalty's HTTP API: what customers have, what happened to a receipt, what waits, whether the ledger is right."""

from collections import defaultdict
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import Path, Query

from chassis.actor import Who
from chassis.pagination import Keyset, Page, Paging
from chassis.problems import Problem
from chassis.request_transaction import Tx, service_router
from chassis.tables import waiting
from chassis.transaction import Transaction
from services.loyalty import by_hand, operations_api, programme, purchases_api, reconciliation
from services.loyalty.documents import (
    AccountOut,
    AdjustmentForm,
    CustomerBalance,
    DifferenceOut,
    ExpiringOut,
    FreezeOut,
    LineOut,
    OperationOut,
    PurchaseOut,
    Reconciliation,
    ReturnOut,
    TermsForm,
    TermsOut,
    WaitingOut,
    WhyForm,
)
from services.loyalty.operations_api import OPERATIONS
from services.loyalty.pricing import split
from services.loyalty.tables import accounts, entries, operations, purchases, returns
from services.loyalty.terms import terms_now

router = service_router(tags=["loyalty"])
router.include_router(operations_api.router)
router.include_router(purchases_api.router)

EXPIRING = """
SELECT account_id, (expires_at AT TIME ZONE 'UTC')::date AS day, sum(remaining)::bigint FROM lots
WHERE account_id = ANY ($1::uuid[]) AND remaining > 0 AND expires_at IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
"""
CustomerPath = Annotated[UUID, Path(description="The customer.")]


@router.get("/customers/{customer_id}/balance")
async def get_balance(customer_id: CustomerPath, tx: Tx) -> CustomerBalance:
    """What the customer has, by account."""
    rows = (await tx.execute(sa.select(accounts).where(accounts.c.customer_id == customer_id))).all()
    if not rows:
        raise _no_customer()
    terms = await terms_now(tx)
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
    entered = sa.select(entries.c.operation_id).where(entries.c.account_id.in_(mine))
    select = OPERATIONS.where(operations.c.id.in_(entered))
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
    """The programme's terms of all times, newest first, with who set them and what they changed."""
    return [TermsOut.model_validate({**row, "changes": changes}) for row, changes in await programme.history(tx)]


@router.post("/terms", status_code=201)
async def change_terms(form: TermsForm, who: Who, tx: Tx) -> TermsOut:
    """Change what the programme promises, from now on or from a later moment; what was earned stays as it was."""
    changed = await programme.change_terms(tx, form.asked(), form.in_force_from, who)
    return next(each for each in await list_terms(tx) if each.id == changed)


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
