"""What operators see and set of a customer's accounts: the balance, the family, the coefficients."""

from collections import defaultdict
from typing import Annotated, Any, Final
from uuid import UUID

import sqlalchemy as sa
from fastapi import Path

from chassis.actor import Who
from chassis.problems import Problem
from chassis.reader import ReadersLanguage
from chassis.request_transaction import Tx, service_router
from chassis.transaction import Transaction
from services.loyalty import coefficients, families
from services.loyalty.documents import (
    AccountOut,
    ActivatingOut,
    CoefficientsForm,
    CustomerBalance,
    ExpiringOut,
    FreezeOut,
    HoldOut,
    Key,
    MemberOut,
    MonthOut,
)
from services.loyalty.paying import worth_minor
from services.loyalty.tables import accounts, holds
from services.loyalty.terms import Terms, terms_now

router = service_router(tags=["loyalty"])

EXPIRING: Final = """
SELECT account_id, (expires_at AT TIME ZONE 'UTC')::date AS day, sum(remaining)::bigint AS points FROM lots
WHERE account_id = ANY ($1::uuid[]) AND remaining > 0 AND expires_at IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
"""
ACTIVATING: Final = """
SELECT account_id, (activates_at AT TIME ZONE 'UTC')::date AS day, sum(remaining)::bigint AS points FROM lots
WHERE account_id = ANY ($1::uuid[]) AND pending AND remaining > 0 GROUP BY 1, 2 ORDER BY 1, 2
"""
CustomerPath = Annotated[UUID, Path(description="The customer.")]


@router.get("/customers/{customer_id}/balance")
async def get_balance(customer_id: CustomerPath, language: ReadersLanguage, tx: Tx) -> CustomerBalance:
    """What the customer has, by account; where they share another one's accounts, what is on those."""
    holder_id = await families.holder_of(tx, customer_id)
    rows = (
        await tx.execute(sa.select(accounts).where(accounts.c.customer_id == holder_id).order_by(accounts.c.opened_at))
    ).all()
    if not rows:
        raise Problem(404, "customer_not_found", "Loyalty knows no customer of this id.", field="customer_id")
    terms = await terms_now(tx)
    found = await _Dates.of(tx, [row.id for row in rows])
    return CustomerBalance(
        customer_id=customer_id,
        holder_id=holder_id,
        accounts=[_account(row, terms, found, language) for row in rows],
        members=[
            MemberOut(customer_id=each.customer_id, since=each.since)
            for each in await families.members_of(tx, holder_id)
        ],
    )


@router.post("/customers/{customer_id}/members/{member_id}", status_code=201)
async def add_member(customer_id: CustomerPath, member_id: UUID, who: Who, tx: Tx) -> MemberOut:
    """Let another customer share this one's accounts: cards of both open them."""
    await families.join(tx, member_id, customer_id, who)
    return MemberOut(customer_id=member_id, since=tx.now)


@router.delete("/customers/{customer_id}/members/{member_id}", status_code=204)
async def remove_member(customer_id: CustomerPath, member_id: UUID, who: Who, tx: Tx) -> None:
    """The other customer's cards open their own accounts again; what was earned together stays here."""
    await families.leave(tx, member_id, customer_id, who)


@router.put("/customers/{customer_id}/coefficients", status_code=204)
async def set_coefficients(customer_id: CustomerPath, form: CoefficientsForm, who: Who, key: Key, tx: Tx) -> None:
    """Set the customer's own coefficients; what is earned already stays as it was."""
    await coefficients.set_coefficients(
        tx, customer_id, form.account, form.bonus_coefficient, form.redemption_coefficient, form.why(who, key)
    )


class _Dates:
    """By account: what burns when, what can be spent when, what is held."""

    def __init__(self) -> None:
        self.expiring: dict[UUID, list[ExpiringOut]] = defaultdict(list)
        self.activating: dict[UUID, list[ActivatingOut]] = defaultdict(list)
        self.holds: dict[UUID, list[HoldOut]] = defaultdict(list)

    @classmethod
    async def of(cls, tx: Transaction, account_ids: list[UUID]) -> "_Dates":
        found = cls()
        for account_id, on, points in await tx.sql(EXPIRING, account_ids):
            found.expiring[account_id].append(ExpiringOut(on=on, points=points))
        for account_id, on, points in await tx.sql(ACTIVATING, account_ids):
            found.activating[account_id].append(ActivatingOut(on=on, points=points))
        standing = sa.select(holds).where(holds.c.account_id.in_(account_ids), holds.c.state == "held")
        for row in await tx.execute(standing.order_by(holds.c.id)):
            found.holds[row.account_id].append(hold_out(row))
        return found


def hold_out(row: Any) -> HoldOut:
    """A hold as it is shown."""
    return HoldOut(
        hold_id=row.id,
        receipt_id=row.receipt_id,
        points=row.points,
        worth_minor=row.worth_minor,
        state=row.state,
        expires_at=row.expires_at,
        missing=row.missing,
    )


def _account(row: Any, terms: Terms, found: _Dates, language: str) -> AccountOut:
    kind, currency = terms.kind(row.kind), terms.currency_of(row.kind)
    assert kind is not None
    available = max(0, row.balance - row.pending - row.held)
    by_month: dict[str, int] = defaultdict(int)
    for each in found.expiring[row.id]:
        by_month[f"{each.on:%Y-%m}"] += each.points
    return AccountOut(
        account_id=row.id,
        kind=row.kind,
        name=kind.name_ru if language == "ru" else kind.name_en,
        establishment=kind.establishment,
        points_currency=row.points_currency,
        currency_name=currency.name_ru if language == "ru" else currency.name_en,
        scale=currency.scale,
        balance=row.balance,
        available=available,
        pending=row.pending,
        held=row.held,
        debt=row.debt,
        worth_minor=worth_minor(available, currency, row.redemption_coefficient),
        bonus_coefficient=row.bonus_coefficient,
        redemption_coefficient=row.redemption_coefficient,
        level=terms.level_at(row.spent_minor).code,
        spent_minor=row.spent_minor,
        opened_at=row.opened_at,
        activating=found.activating[row.id],
        expiring=found.expiring[row.id],
        expiring_by_month=[MonthOut(month=month, points=points) for month, points in by_month.items()],
        holds=found.holds[row.id],
        frozen=None if row.frozen_at is None else FreezeOut(since=row.frozen_at, reason=row.frozen_because),
    )
