"""What tills say on `pos.purchases`: a purchase completed, returned in part or whole, or cancelled."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from contracts.fields import (
    CardNumber,
    Currency,
    CustomerId,
    Id,
    Moment,
    MoneyMinor,
    Phone,
    Quantity,
    ReceiptId,
    StoreId,
    TerminalId,
)
from contracts.records import Event, part

MAX_LINES = 500


@part
class PurchaseLine:
    """One line of a receipt: `total_minor = amount_minor - discount_minor`."""

    line_no: Annotated[int, Field(ge=1, le=10_000, examples=[1])]
    """Number of the line on the receipt, unique within it; a return names it."""
    product_id: Annotated[str, StringConstraints(min_length=1, max_length=64), Field(examples=["1082185"])]
    """The chain's own code of the product."""
    category: Annotated[str, StringConstraints(max_length=100), Field(examples=["BANANAS"])] | None = None
    """Product category, where the till knows it."""
    quantity: Quantity
    """How much was bought."""
    amount_minor: MoneyMinor
    """What the line costs before discounts."""
    discount_minor: Annotated[MoneyMinor, Field(examples=[6000])] = 0
    """Discount on the line."""
    total_minor: Annotated[MoneyMinor, Field(examples=[108000])]
    """What was paid for the line, in money and with points."""


def line_does_not_add_up(lines: Sequence[PurchaseLine], line: PurchaseLine) -> PydanticCustomError:
    """What the validator of a model that has the lines raises; `at` is the way to the field from there."""
    return PydanticCustomError(
        "line_total",
        "line {line_no}: total_minor is not amount_minor - discount_minor",
        {
            "at": ("lines", lines.index(line), "total_minor"),
            "line_no": line.line_no,
            "sum": line.amount_minor - line.discount_minor,
        },
    )


def line_no_twice() -> PydanticCustomError:
    """The same, where two of the lines have one number."""
    return PydanticCustomError("line_no", "lines: two lines have the same line_no", {"at": ("lines",)})


def _total_differs(given: int, added_up: int) -> PydanticCustomError:
    return PydanticCustomError(
        "total",
        "total_minor is {given}, but the lines add up to {sum}",
        {"at": ("total_minor",), "given": given, "sum": added_up},
    )


def _discount_differs(given: int, added_up: int) -> PydanticCustomError:
    return PydanticCustomError(
        "discount",
        "discount_minor is {given}, but the lines' discounts add up to {sum}",
        {"at": ("discount_minor",), "given": given, "sum": added_up},
    )


class _ByCustomer(Event):
    """Whose purchase it is: card, else phone, else customer id; the key of the record is the first one present."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string"}}}
                for name in ("card_number", "phone", "customer_id")
            ]
        }
    )

    card_number: CardNumber | None = None
    """The card that was shown; the record's key."""
    phone: Phone | None = None
    """The telephone that was named; the record's key where there is no card."""
    customer_id: CustomerId | None = None
    """The customer, where the till knows it; the record's key where there is neither card nor phone."""

    @property
    def key(self) -> str:
        return self.card_number or self.phone or str(self.customer_id)

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if self.card_number is None and self.phone is None and self.customer_id is None:
            raise ValueError("one of card_number, phone and customer_id is needed")
        return self


class PurchaseCompleted(_ByCustomer, type="pos.purchase_completed.v1", topic="pos.purchases"):
    """A receipt was paid. The lines add up to the totals, to the smallest unit."""

    receipt_id: ReceiptId
    """The receipt."""
    store_id: StoreId
    """Where it was paid."""
    terminal_id: TerminalId
    """The till that printed it."""
    completed_at: Moment
    """When the customer paid, by the till's clock."""
    currency: Currency
    """Money of every sum on the receipt."""
    lines: Annotated[list[PurchaseLine], Field(min_length=1, max_length=MAX_LINES)]
    """What was bought."""
    discount_minor: Annotated[MoneyMinor, Field(examples=[6000])] = 0
    """Sum of the lines' discounts."""
    total_minor: Annotated[MoneyMinor, Field(examples=[108000])]
    """Sum of the lines' totals: what was paid, in money and with points."""
    hold_id: Id | None = None
    """The points that were held for this receipt and that it is paid with in part; its totals are before that."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = discount = 0
        numbers = set()
        for line in self.lines:
            if line.amount_minor - line.discount_minor != line.total_minor:
                raise line_does_not_add_up(self.lines, line)
            total += line.total_minor
            discount += line.discount_minor
            numbers.add(line.line_no)
        if len(numbers) != len(self.lines):
            raise line_no_twice()
        if total != self.total_minor:
            raise _total_differs(self.total_minor, total)
        if discount != self.discount_minor:
            raise _discount_differs(self.discount_minor, discount)
        return self


@part
class ReturnedLine:
    """What came back of one line of the purchase."""

    line_no: Annotated[int, Field(ge=1, le=10_000, examples=[1])]
    """Number of the line on the purchase's receipt."""
    quantity: Quantity
    """How much of it came back; at most what was bought."""
    total_minor: Annotated[MoneyMinor, Field(examples=[54000])]
    """What of it comes back, in money and in points that it was paid with; at most the line's total."""


class PurchaseReturned(_ByCustomer, type="pos.purchase_returned.v1", topic="pos.purchases"):
    """Goods of a completed purchase came back. Carries the same card, phone or customer id as the purchase did."""

    return_id: Annotated[ReceiptId, Field(examples=["367-04-2025-11-03-000021"])]
    """The return's own receipt."""
    receipt_id: ReceiptId
    """The receipt of the purchase."""
    store_id: StoreId
    """Where the goods came back."""
    terminal_id: TerminalId
    """The till that took them."""
    returned_at: Moment
    """When the goods came back, by the till's clock."""
    currency: Currency
    """Money of every sum on the receipt."""
    lines: Annotated[list[ReturnedLine], Field(min_length=1, max_length=MAX_LINES)]
    """What came back."""
    total_minor: Annotated[MoneyMinor, Field(examples=[54000])]
    """Sum of the lines' totals: what was given back."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if len({line.line_no for line in self.lines}) != len(self.lines):
            raise line_no_twice()
        total = sum(line.total_minor for line in self.lines)
        if total != self.total_minor:
            raise _total_differs(self.total_minor, total)
        return self


class PurchaseCancelled(_ByCustomer, type="pos.purchase_cancelled.v1", topic="pos.purchases"):
    """A completed purchase never took place (annulled at the till). Carries the same card as the purchase did."""

    receipt_id: ReceiptId
    """The receipt of the purchase."""
    store_id: StoreId
    """Where it was annulled."""
    terminal_id: TerminalId
    """The till that annulled it."""
    cancelled_at: Moment
    """When it was annulled, by the till's clock."""
