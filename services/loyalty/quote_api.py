"""What tills ask at once, over HTTP: a quote for a receipt, points held for it, points let go."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from chassis.field_faults import N_
from chassis.request_transaction import Tx, service_router
from contracts.fields import MAX_MINOR, CardNumber, Code, Currency, CustomerId, Phone, ReceiptId
from contracts.purchases import MAX_LINES, PurchaseLine, line_does_not_add_up, line_no_twice
from services.loyalty import reserving
from services.loyalty.documents import HoldOut
from services.loyalty.guessing import GuardedRoute
from services.loyalty.quotes import Basket, Payable, Quote
from services.loyalty.terms import MAIN, Terms
from services.loyalty.till_api import PREFIX, Till

router = service_router(prefix=PREFIX, tags=["till"])
asking = service_router(route_class=GuardedRoute, prefix=PREFIX, tags=["till"])

ReceiptPath = Annotated[ReceiptId, Path(description="The receipt to be; the completed purchase has the same.")]
NAMES: Final = ("card_number", "phone", "customer_id")


class QuoteForm(BaseModel):
    """The receipt as the till has it so far, for a customer who is named by card, phone or id."""

    model_config = ConfigDict(extra="forbid")

    card_number: CardNumber | None = None
    phone: Phone | None = None
    customer_id: CustomerId | None = None
    currency: Currency
    lines: Annotated[list[PurchaseLine], Field(min_length=1, max_length=MAX_LINES)]

    @model_validator(mode="after")
    def _names_one(self) -> "QuoteForm":
        if sum(getattr(self, name) is not None for name in NAMES) != 1:
            raise ValueError(N_("name the customer by one of card_number, phone and customer_id"))
        return self

    @model_validator(mode="after")
    def _adds_up(self) -> "QuoteForm":
        for line in self.lines:
            if line.amount_minor - line.discount_minor != line.total_minor:
                raise line_does_not_add_up(self.lines, line)
        if len({line.line_no for line in self.lines}) != len(self.lines):
            raise line_no_twice()
        return self

    @property
    def identifier(self) -> str:
        return self.card_number or self.phone or str(self.customer_id)


class QuotedLineOut(BaseModel):
    """What a line would earn, and how much of it can be paid with points."""

    line_no: int
    points: int = Field(description="What it would earn, were nothing paid with points.")
    payable_minor: int = Field(description="Money of it that can be paid with points.")
    why: str = Field(description="The rule by which it earns that.", examples=["level:silver"])


class PayableOut(BaseModel):
    """What one of the customer's accounts can pay of the receipt."""

    account: str = Field(description="The kind of account.", examples=["main"])
    points_currency: str
    scale: int
    available: int
    most_points: int = Field(description="The most points that can be held for this receipt.")
    most_minor: int = Field(description="Money that the till takes off for so many.")
    least_points: int
    step_points: int


class QuoteOut(BaseModel):
    """What the receipt would earn, and how much of it can be paid with points."""

    receipt_id: str
    total_minor: int
    discount_minor: int
    points: int = Field(description="What it would earn, were nothing paid with points.")
    account: str = Field(description="The kind of account on which it would.")
    level: str
    rate_basis_points: int = Field(description="The level's rate.")
    bonus_coefficient: int
    redemption_coefficient: int
    cashback_basis_points: int = Field(description="Rate times both coefficients: money's worth earned per money paid.")
    withheld: str | None = Field(description="Why it would earn nothing.")
    lines: list[QuotedLineOut]
    payable: list[PayableOut] = Field(description="By account, the main one first.")


class HoldForm(BaseModel):
    """Points that the customer wants to pay with."""

    model_config = ConfigDict(extra="forbid")

    points: Annotated[int, Field(ge=1, le=MAX_MINOR)]
    account: Code = Field(MAIN, description="The kind of account.")


class PlacedHoldOut(HoldOut):
    """Points that are reserved for the purchase from now on."""

    available: int = Field(description="What the customer can spend besides.")
    now: datetime = Field(description="The service's clock, against which it expires.")


@asking.post("/purchases/{receipt_id:path}/quote")
async def quote_purchase(receipt_id: ReceiptPath, form: QuoteForm, till: Till, tx: Tx) -> QuoteOut:
    """What the receipt would earn, and how much of it can be paid with points, line by line. It binds nobody."""
    basket = Basket(receipt_id, form.card_number, till.store_id, till.terminal_id, form.currency, form.lines)
    return _quote(basket, await reserving.quote(tx, basket, form.identifier))


@router.post("/purchases/{receipt_id:path}/hold", status_code=201)
async def hold_points(receipt_id: ReceiptPath, form: HoldForm, till: Till, tx: Tx) -> PlacedHoldOut:
    """Reserve points for a quoted receipt; the completed purchase names the hold and takes them."""
    hold, account = await reserving.reserve(tx, receipt_id, till.terminal_id, form.points, form.account)
    return PlacedHoldOut(
        hold_id=hold.id,
        receipt_id=receipt_id,
        points=hold.points,
        worth_minor=hold.worth_minor,
        state=hold.state,
        expires_at=hold.expires_at,
        available=account.available,
        now=tx.now,
    )


@router.post("/purchases/{receipt_id:path}/release")
async def release_points(receipt_id: ReceiptPath, till: Till, tx: Tx) -> HoldOut:
    """Let go what is held for the receipt; its quote stays."""
    hold = await reserving.release(tx, receipt_id, till.terminal_id)
    return HoldOut(
        hold_id=hold.id,
        receipt_id=receipt_id,
        points=hold.points,
        worth_minor=hold.worth_minor,
        state="released",
        expires_at=hold.expires_at,
    )


def _quote(basket: Basket, quote: Quote) -> QuoteOut:
    terms, pricing, earning = quote.terms, quote.pricing, quote.earning
    return QuoteOut(
        receipt_id=basket.receipt_id,
        total_minor=sum(line.total_minor for line in basket.lines),
        discount_minor=sum(line.discount_minor for line in basket.lines),
        points=pricing.points,
        account=earning.kind,
        level=pricing.level,
        rate_basis_points=quote.rate_basis_points,
        bonus_coefficient=earning.bonus_coefficient,
        redemption_coefficient=earning.redemption_coefficient,
        cashback_basis_points=quote.cashback_basis_points,
        withheld=pricing.withheld,
        lines=[
            QuotedLineOut(
                line_no=line.line_no,
                points=points,
                payable_minor=payable,
                why=terms.why(line.product_id, line.category, pricing.level, pricing.withheld),
            )
            for line, points, payable in zip(basket.lines, pricing.line_points, quote.payable_minor, strict=True)
        ],
        payable=[_payable(each, terms) for each in quote.payable],
    )


def _payable(payable: Payable, terms: Terms) -> PayableOut:
    account = payable.account
    return PayableOut(
        account=account.kind,
        points_currency=account.points_currency,
        scale=terms.currency_of(account.kind).scale,
        available=account.available,
        most_points=payable.most_points,
        most_minor=payable.most_minor,
        least_points=terms.payable_min_points,
        step_points=terms.payable_step_points,
    )
