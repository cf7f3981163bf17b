"""Field types that several records share, with their unit, their limits and an example."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

MAX_MINOR = 10**13
"""The largest sum of money or points in one record, in the smallest unit."""


def ean13_check_digit(first_twelve: str) -> str:
    """The thirteenth digit of an EAN-13 number (GS1 General Specifications, section 7.9)."""
    odd = sum(map(int, first_twelve[0::2]))
    even = sum(map(int, first_twelve[1::2]))
    return str(-(odd + 3 * even) % 10)


def _card_number(number: str) -> str:
    if len(number) == 13 and number[12] != ean13_check_digit(number[:12]):
        raise ValueError("the check digit of this EAN-13 card number is wrong: read the card again")
    return number


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


CardNumber = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4,20}$"),
    AfterValidator(_card_number),
    Field(
        description="Loyalty card number, digits only; thirteen digits are an EAN-13 with its check digit.",
        examples=["2900000000018"],
    ),
]
Phone = Annotated[
    str,
    StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$"),
    Field(description="Telephone number in E.164.", examples=["+79161234567"]),
]
CustomerId = Annotated[
    UUID, Field(description="The customer, UUIDv7.", examples=["019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e11"])
]
StoreId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    Field(description="The chain's own code of the store.", examples=["367"]),
]
TerminalId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    Field(description="The till within the chain.", examples=["367-04"]),
]
ReceiptId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    Field(
        description="The receipt, unique within the chain for ever; a second one with other content is refused.",
        examples=["367-04-2025-11-02-000117"],
    ),
]
Moment = Annotated[
    AwareDatetime,
    AfterValidator(_utc),
    Field(description="RFC 3339 with an offset; kept in UTC.", examples=["2025-11-02T15:04:05+03:00"]),
]
Currency = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z]{3}$"),
    Field(description="ISO 4217 code of the money.", examples=["RUB"]),
]
PointsCurrency = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$"),
    Field(description="Code of the points' own currency.", examples=["points"]),
]
MoneyMinor = Annotated[
    int,
    Field(ge=0, le=MAX_MINOR, description="Money in the smallest unit (kopecks, cents).", examples=[114000]),
]
Points = Annotated[
    int,
    Field(ge=0, le=MAX_MINOR, description="Points in the smallest unit of their currency.", examples=[57]),
]
Quantity = Annotated[
    Decimal,
    Field(
        gt=0,
        max_digits=12,
        decimal_places=3,
        description="How many, or how many kilogrammes or litres.",
        examples=["2"],
    ),
]
Channel = Annotated[
    Literal["telegram", "sms", "push", "email", "vk"],
    Field(description="A way to reach the customer.", examples=["telegram"]),
]
Language = Annotated[Literal["ru", "en"], Field(description="The customer's language.", examples=["ru"])]
Code = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$"),
    Field(description="A stable word for programs.", examples=["unreachable"]),
]
