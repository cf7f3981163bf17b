"""The ledger's operations of all customers over HTTP: by period, type and store, as pages or as a file.

An operation's id is a UUIDv7 made while it is entered. So the primary key is in the order of entering, a period is a
range of it, and the table on the hot path needs no index for any of this.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, Final
from uuid import UUID

import sqlalchemy as sa
from fastapi import Depends, Query
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.exports import RESPONSES, Column, Export, Exporting
from chassis.field_faults import N_
from chassis.ids import least_id
from chassis.pagination import Keyset, Page, Paging
from chassis.periods import Period, PeriodAsked
from chassis.request_transaction import Tx, service_router
from contracts.currencies import in_major_units
from services.loyalty.documents import OperationOut
from services.loyalty.tables import OperationType, accounts, entries, operation_notes, operations, purchases, returns
from services.loyalty.terms import Terms, all_terms, terms_at

router = service_router()

ID_MARGIN: Final = timedelta(hours=1)
"""An id is made within the transaction whose start is `entered_at`, by a clock that may have been set meanwhile."""
NEWEST_FIRST: Final = Keyset([operations.c.id], descending=True)
PLAN_FOR_WHAT_IS_SOUGHT: Final = "SET LOCAL plan_cache_mode = force_custom_plan"
"""One plan for a day, a year, a large store and one that never was would be bad for most of them."""
BOUGHT: Final = ("purchase", "order_payment")
BACK: Final = ("return", "cancellation")
_later, _own, _theirs = operations.alias(), accounts.alias(), accounts.alias()


def _at_till(terminal_id: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    return sa.literal_column("'till'").concat(sa.func.coalesce(sa.literal_column("':'").concat(terminal_id), ""))


_came_back_at = sa.select(returns.c.terminal_id).where(returns.c.operation_id == operations.c.id).limit(1)
ACTOR: Final = sa.func.coalesce(
    operation_notes.c.actor,
    sa.case(
        (operations.c.type.in_(BOUGHT), _at_till(purchases.c.terminal_id)),
        (operations.c.type.in_(BACK), _at_till(_came_back_at.scalar_subquery())),
        (operations.c.type == "refund", "till"),
        else_=sa.literal_column("'trigger:'").concat(operations.c.type),
    ),
)
"""Who did it by hand; else the till that told of it, or what led to it."""
OPERATIONS: Final = sa.select(
    operations,
    sa.func.greatest(operations.c.points, 0).label("accrued"),
    sa.func.greatest(-operations.c.points, 0).label("deducted"),
    accounts.c.customer_id,
    accounts.c.kind.label("account_kind"),
    purchases.c.store_id,
    purchases.c.terminal_id,
    purchases.c.currency.label("receipt_currency"),
    purchases.c.total_minor.label("receipt_total_minor"),
    ACTOR.label("actor"),
    operation_notes.c.reason,
    operation_notes.c.comment,
    operation_notes.c.idempotency_key,
    purchases.c.discount_minor.label("receipt_discount_minor"),
    purchases.c.card_number,
    sa.func.array(
        sa.select(_later.c.id)
        .where(_later.c.reverses == operations.c.id, _later.c.type == sa.literal_column("'reversal'"))
        .order_by(_later.c.id)
        .scalar_subquery(),
        type_=ARRAY(sa.Uuid),
    ).label("reversed_by"),
).select_from(
    operations.outerjoin(accounts, accounts.c.id == operations.c.account_id)
    .outerjoin(purchases, purchases.c.receipt_id == operations.c.receipt_id)
    .outerjoin(operation_notes, operation_notes.c.operation_id == operations.c.id)
)


def _discount(row: Any) -> Decimal | None:
    if row.receipt_discount_minor is None:
        return None
    return in_major_units(row.receipt_discount_minor, row.receipt_currency)


def _reversed_by(row: Any) -> str | None:
    return " ".join(map(str, row.reversed_by)) or None


def _receipt_total(row: Any) -> Decimal | None:
    return None if row.receipt_total_minor is None else in_major_units(row.receipt_total_minor, row.receipt_currency)


def _establishment(row: Any, terms: Sequence[Terms]) -> str | None:
    return terms_at(terms, row.occurred_at).establishment_of(row.account_kind, row.store_id)


def operation_out(row: Any, terms: Sequence[Terms]) -> OperationOut:
    """An operation as it is shown; `terms`: of all times."""
    return OperationOut.model_validate({**row._mapping, "establishment": _establishment(row, terms)})


def columns(terms: Sequence[Terms]) -> Sequence[Column]:
    """Of a file of operations; `terms`: of all times."""
    return (
        Column(N_("Operation"), attrgetter("id")),
        Column(N_("Type"), attrgetter("type")),
        Column(N_("Occurred"), attrgetter("occurred_at")),
        Column(N_("Entered"), attrgetter("entered_at")),
        Column(N_("Establishment"), lambda row: _establishment(row, terms)),
        Column(N_("Store"), attrgetter("store_id")),
        Column(N_("Till"), attrgetter("terminal_id")),
        Column(N_("Receipt"), attrgetter("receipt_id")),
        Column(N_("Card"), attrgetter("card_number")),
        Column(N_("Receipt total"), _receipt_total),
        Column(N_("Discount"), _discount),
        Column(N_("Currency"), attrgetter("receipt_currency")),
        Column(N_("Points"), attrgetter("points")),
        Column(N_("Accrued"), attrgetter("accrued")),
        Column(N_("Deducted"), attrgetter("deducted")),
        Column(N_("Customer"), attrgetter("customer_id")),
        Column(N_("Account"), attrgetter("account_id")),
        Column(N_("Actor"), attrgetter("actor")),
        Column(N_("Reason"), attrgetter("reason")),
        Column(N_("Comment"), attrgetter("comment")),
        Column(N_("Idempotency key"), attrgetter("idempotency_key")),
        Column(N_("Reverses"), attrgetter("reverses")),
        Column(N_("Reversed by"), _reversed_by),
    )


def of_customers(customers: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """Whether an operation is on an account of these customers, or on one that was merged into theirs."""
    own = sa.select(_own.c.id).where(_own.c.customer_id.in_(customers))
    theirs = sa.select(_theirs.c.id).where(sa.or_(_theirs.c.customer_id.in_(customers), _theirs.c.merged_into.in_(own)))
    return operations.c.id.in_(sa.select(entries.c.operation_id).where(entries.c.account_id.in_(theirs)))


def entered_within(period: PeriodAsked) -> Sequence[sa.ColumnElement[bool]]:
    """What an operation of the period fulfils: its id, which the index knows, and the moment itself."""
    narrowed = []
    if period.since is not None:
        narrowed.append(operations.c.id >= least_id(period.since - ID_MARGIN))
    if period.until is not None:
        narrowed.append(operations.c.id < least_id(period.until + ID_MARGIN))
    return [*narrowed, *period.holds(operations.c.entered_at)]


def _holders_of(receipt_id: str) -> sa.Select[Any]:
    """On whose accounts a purchase and what came of it is: the account's holder, and who that was merged into."""
    bought = sa.select(purchases.c.account_id).where(purchases.c.receipt_id == receipt_id).correlate(None)
    into = sa.select(_own.c.merged_into).where(_own.c.id.in_(bought)).correlate(None)
    holder = accounts.alias()
    return sa.select(holder.c.customer_id).where(sa.or_(holder.c.id.in_(bought), holder.c.id.in_(into)))


def at_establishment(code: str, terms: Sequence[Terms]) -> sa.ColumnElement[bool]:
    """Whether an operation's establishment is that one: by the terms of its time, of all times, newest first."""
    found = []
    until: datetime | None = None
    for each in terms:
        is_oldest = each is terms[-1]
        within = [] if is_oldest else [operations.c.occurred_at >= each.in_force_from]
        if until is not None:
            within.append(operations.c.occurred_at < until)
        stores = [store for group in each.establishments if group.code == code for store in group.stores]
        kinds = [kind.code for kind in each.account_kinds if kind.establishment == code]
        here = sa.or_(
            purchases.c.store_id == sa.any_(sa.literal(stores, ARRAY(sa.Text))),
            sa.and_(purchases.c.store_id.is_(None), accounts.c.kind.in_(kinds)),
        )
        found.append(sa.and_(*within, here))
        until = each.in_force_from
    return sa.or_(*found)


async def _sought(
    tx: Tx,
    period: Period,
    type: Annotated[list[OperationType] | None, Query(description="May be given several times.")] = None,
    store_id: Annotated[str | None, Query(max_length=64, description="The store of the receipt.")] = None,
    establishment: Annotated[
        str | None, Query(max_length=40, description="Of the store, or of the account where there is no receipt.")
    ] = None,
    customer_id: UUID | None = None,
    receipt_id: Annotated[
        str | None, Query(max_length=100, description="The purchase, and what came back of it.")
    ] = None,
    actor: Annotated[
        str | None, Query(max_length=80, description="Who or what did it.", examples=["operator:anna", "till:367-04"])
    ] = None,
) -> sa.Select[Any]:
    select = OPERATIONS.where(*entered_within(period))
    if type:
        select = select.where(operations.c.type.in_(type))
    if store_id is not None:
        select = select.where(purchases.c.store_id == store_id)
    if establishment is not None:
        select = select.where(at_establishment(establishment, await all_terms(tx)))
    if customer_id is not None:
        select = select.where(of_customers(sa.select(sa.literal(customer_id, sa.Uuid))))
    if receipt_id is not None:
        select = select.where(operations.c.receipt_id == receipt_id, of_customers(_holders_of(receipt_id)))
    if actor is not None:
        is_kept = not actor.startswith(("till", "trigger:"))
        select = select.where((operation_notes.c.actor if is_kept else ACTOR) == actor)
    return select


Sought = Annotated[sa.Select[Any], Depends(_sought)]
"""The operations that a request asks for."""


@router.get("/operations")
async def list_operations_of_all(tx: Tx, sought: Sought, paging: Paging) -> Page[OperationOut]:
    """Operations of all customers, the last entered first. The period is that of entering them."""
    await tx.sql(PLAN_FOR_WHAT_IS_SOUGHT)
    rows, following = await NEWEST_FIRST.page(tx, sought, paging)
    terms = await all_terms(tx)
    return Page(items=[operation_out(row, terms) for row in rows], next=following)


@router.get("/operations.{format}", responses=RESPONSES)
async def export_operations(tx: Tx, sought: Sought, asked: Exporting) -> Export:
    """The same operations in the same order as a file; money in whole units, points as they are kept."""
    return asked.of(sought.order_by(operations.c.id.desc()), columns(await all_terms(tx)), "operations")
