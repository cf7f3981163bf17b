"""Loyalty's HTTP API: what customers have, what happened to a receipt, the terms."""

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import Path

from chassis.actor import Who
from chassis.pagination import Keyset, Page, Paging
from chassis.problems import Problem
from chassis.request_transaction import Tx, service_router
from chassis.transaction import Transaction
from services.loyalty import (
    balance_api,
    by_hand,
    families,
    operations_api,
    programme,
    purchases_api,
    quote_api,
    reconciliation_api,
    reviews_api,
    terminals_api,
    till_api,
)
from services.loyalty.balance_api import CustomerPath, hold_out
from services.loyalty.documents import (
    AdjustmentForm,
    Key,
    LineOut,
    OperationOut,
    PurchaseOut,
    ReturnOut,
    ReversalForm,
    TermsForm,
    TermsOut,
)
from services.loyalty.operations_api import OPERATIONS, of_customers, operation_out
from services.loyalty.purchases import Line
from services.loyalty.tables import holds, operations, purchases, returns
from services.loyalty.terms import Terms, all_terms, terms_at

router = service_router(tags=["loyalty"])
router.include_router(balance_api.router)
router.include_router(operations_api.router)
router.include_router(purchases_api.router)
router.include_router(terminals_api.router)
router.include_router(quote_api.router)
router.include_router(quote_api.asking)
router.include_router(reviews_api.router)
router.include_router(till_api.router)
router.include_router(reconciliation_api.router)


@router.get("/customers/{customer_id}/operations")
async def list_operations(customer_id: CustomerPath, tx: Tx, paging: Paging) -> Page[OperationOut]:
    """The customer's operations, newest first."""
    holder_id = await families.holder_of(tx, customer_id)
    select = OPERATIONS.where(of_customers(sa.select(sa.literal(holder_id, sa.Uuid))))
    rows, following = await Keyset([operations.c.id], descending=True).page(tx, select, paging)
    terms = await all_terms(tx)
    return Page(items=[operation_out(row, terms) for row in rows], next=following)


@router.post("/customers/{customer_id}/operations", status_code=201)
async def adjust_points(customer_id: CustomerPath, form: AdjustmentForm, who: Who, key: Key, tx: Tx) -> OperationOut:
    """Give the customer points by hand, or take them: soonest-expiring first, never more than there are."""
    asked = by_hand.Adjustment(form.points, form.type, form.account, form.activates_at, form.expires_at)
    done = await by_hand.adjust(tx, customer_id, asked, form.why(who, key))
    return await _operation(tx, done.id)


@router.post("/operations/{operation_id}/reversal", status_code=201)
async def reverse_operation(operation_id: UUID, form: ReversalForm, who: Who, key: Key, tx: Tx) -> OperationOut:
    """Take back what was done by hand, whole or in part, never twice; the ledger keeps both."""
    done = await by_hand.reverse(tx, operation_id, form.points, form.why(who, key))
    return await _operation(tx, done.id)


@router.get("/purchases/{receipt_id}")
async def get_purchase(receipt_id: Annotated[str, Path(max_length=100)], tx: Tx) -> PurchaseOut:
    """A receipt: each line with what it earned, and what came back."""
    known = purchases.c.state != "awaited"
    row = (await tx.execute(sa.select(purchases).where(purchases.c.receipt_id == receipt_id, known))).first()
    if row is None:
        raise Problem(404, "purchase_not_found", "No purchase has this receipt id.", field="receipt_id")
    back = (await tx.execute(sa.select(returns).where(returns.c.receipt_id == receipt_id))).all()
    held = (await tx.execute(sa.select(holds).where(holds.c.receipt_id == receipt_id).order_by(holds.c.id))).all()
    terms = terms_at(await all_terms(tx), row.completed_at or row.quoted_at)
    return PurchaseOut(
        **{
            **row._mapping,
            "lines": [_line(Line(*line), row, terms) for line in row.lines],
            "returns": [ReturnOut(**each._mapping) for each in back],
            "holds": [hold_out(each) for each in held],
        }
    )


@router.get("/terms")
async def list_terms(tx: Tx) -> list[TermsOut]:
    """The programme's terms of all times, newest first, with who set them and what they changed."""
    return [TermsOut(**dict(terms), changes=changes) for terms, changes in await programme.history(tx)]


@router.post("/terms", status_code=201)
async def change_terms(form: TermsForm, who: Who, tx: Tx) -> TermsOut:
    """Change what the programme promises, from now on or from a later moment; what was earned stays as it was."""
    changed = await programme.change_terms(tx, form.asked(), form.in_force_from, who)
    return next(each for each in await list_terms(tx) if each.id == changed)


async def _operation(tx: Transaction, operation_id: UUID) -> OperationOut:
    row = (await tx.execute(OPERATIONS.where(operations.c.id == operation_id))).one()
    return operation_out(row, await all_terms(tx))


def _line(line: Line, purchase: sa.Row[Any], terms: Terms) -> LineOut:
    why = terms.why(line.product_id, line.category, purchase.level, purchase.withheld)
    return LineOut(**asdict(line), why=why)
