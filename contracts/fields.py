"""Field types that several records share, with their unit, their limits and an example."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    GetJsonSchemaHandler,
    GetPydanticSchema,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import core_schema

MAX_MINOR = 10**13
"""The largest sum of money or points in one record, in the smallest unit."""


ZERO = ord("0")


def ean13_check_digit(first_twelve: str) -> str:
    """The thirteenth digit of an EAN-13 number (GS1 General Specifications, section 7.9)."""
    digits = first_twelve.encode()
    return str(-(sum(digits[0::2]) + 3 * sum(digits[1::2]) - 24 * ZERO) % 10)


def _card_number(number: str) -> str:
    if len(number) == 13 and number[12] != ean13_check_digit(number[:12]):
        raise ValueError("the check digit of this EAN-13 card number is wrong: read the card again")
    return number


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


_USUAL_QUANTITY = r"^(?:[1-9][0-9]{0,8}(?:\.[0-9]{1,3})?|0\.(?:[1-9][0-9]{0,2}|0[1-9][0-9]?|00[1-9]))$"
_QUANTITY = core_schema.union_schema(
    [
        core_schema.str_schema(pattern=_USUAL_QUANTITY),
        core_schema.chain_schema(
            [
                core_schema.decimal_schema(gt=Decimal(0), max_digits=12, decimal_places=3),
                core_schema.no_info_plain_validator_function("{:f}".format),
            ]
        ),
    ],
    mode="left_to_right",
    custom_error_type="quantity",
    custom_error_message="must be a decimal above zero in quotes, with at most three digits after the point",
)
"""The usual spelling is kept as it is: making a Decimal of it took a third of decoding a receipt."""


@dataclass(frozen=True, slots=True)
class Means:
    """What values of a type are, with unit and format. A field's own docstring says what it is there for."""

    text: str

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "description": self.text}


CardNumber = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4,20}$"),
    AfterValidator(_card_number),
    Means("Loyalty card number, 4 to 20 digits; thirteen digits are an EAN-13 with its check digit."),
    Field(examples=["2900000000018"]),
]
Phone = Annotated[
    str,
    StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$"),
    Means("Telephone number in E.164."),
    Field(examples=["+79161234567"]),
]
Id = Annotated[UUID, Means("UUIDv7."), Field(examples=["019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e12"])]
CustomerId = Annotated[
    UUID, Means("The customer's id, UUIDv7."), Field(examples=["019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e11"])
]
StoreId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    Means("The chain's own code of the store."),
    Field(examples=["367"]),
]
TerminalId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    Means("The chain's own code of the till, unique within the chain."),
    Field(examples=["367-04"]),
]
ReceiptId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    Means("A receipt's id, unique within the chain for ever; a second one with other content is refused."),
    Field(examples=["367-04-2025-11-02-000117"]),
]
Moment = Annotated[
    AwareDatetime,
    AfterValidator(_utc),
    Means("A moment as RFC 3339 with an offset; kept in UTC."),
    Field(examples=["2025-11-02T15:04:05+03:00"]),
]
Currency = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z]{3}$"),
    Means("ISO 4217 code of the money."),
    Field(examples=["RUB"]),
]
PointsCurrency = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$"),
    Means("Code of the points' own currency."),
    Field(examples=["points"]),
]
MoneyMinor = Annotated[
    int,
    Field(ge=0, le=MAX_MINOR, examples=[114000]),
    Means("Money, an integer in the currency's smallest unit (kopecks, cents)."),
]
Points = Annotated[
    int,
    Field(ge=0, le=MAX_MINOR, examples=[57]),
    Means("Points, an integer in the smallest unit of their currency."),
]
PointsScale = Annotated[
    int,
    Field(ge=0, le=6, examples=[2]),
    Means("Digits behind the point of a currency of points: of scale 2, 100 of its smallest units are one point."),
]
Quantity = Annotated[
    str,
    GetPydanticSchema(lambda _source, _handler: _QUANTITY),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,3})?$"},
                {"type": "number", "exclusiveMinimum": 0},
            ],
            "examples": ["2"],
        }
    ),
    Means("Pieces, kilogrammes or litres: a decimal in quotes, at most three digits after the point."),
]
Channel = Annotated[
    Literal["telegram", "sms", "push", "email", "vk"],
    Means("A way to reach the customer."),
    Field(examples=["telegram"]),
]
Language = Annotated[Literal["ru", "en"], Means("Language of the customer's texts, ISO 639-1."), Field(examples=["ru"])]
Code = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$"),
    Means("A stable word for programs: Latin lower-case letters, digits, underscores."),
    Field(examples=["unreachable"]),
]
