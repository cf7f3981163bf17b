"""The texts of messages: a template a language in `templates/<language>/<name>.txt`, and what each one needs.

Plural forms are CLDR's (Babel): a template names each form of its language. Moments are the customer's: in their time
zone, to the minute. Texts are plain, without markup.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import jinja2
from babel import Locale
from babel.dates import format_date, format_time
from babel.numbers import format_decimal
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chassis.envelope import Unprocessable
from contracts.currencies import in_whole_points
from contracts.fields import MAX_MINOR, Currency, Language, Moment, MoneyMinor, Points, PointsScale, StoreId
from services.messaging.money import format_money
from services.messaging.nights import zone_of

FOLDER: Final = Path(__file__).parent / "templates"
AT: Final[Mapping[Language, str]] = {"en": "{day} at {time}", "ru": "{day} в {time}"}
"""A minute of a day. What begins or ends with the day is told with its day, or the day's last minute."""

Balance = Annotated[int, Field(ge=-MAX_MINOR, le=MAX_MINOR)]
"""What can be spent; below zero only where an older event says no more than what is on the account."""
CorrectionCause = Literal["taken", "reversed", "purchase"]
"""By hand; what was done by hand is taken back; a decision on a purchase that broke a limit."""
Occasion = Literal["manual", "registration", "birthday", "referral", "activity", "promotion", "gift", "compensation"]


IN_POINTS: Final = frozenset(
    ("points", "balance", "paid", "debt_paid", "refunded", "refund_burned", "refund_debt_paid", "owed")
)
"""The parameters in the smallest unit of a currency of points; templates are given them in whole points."""
NUMBER: Final = "#,##0.######"
MINUTE: Final = timedelta(minutes=1)
MOMENT: Final = timedelta(microseconds=1)


class Parameters(BaseModel):
    """What a template needs. Whoever asks may send more: what no template needs is left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class _OfPoints(Parameters):
    """Points are given in the smallest unit of a currency of this scale; none: whole ones."""

    points_scale: PointsScale | None = None


class _OfPurchase(Parameters):
    """`of_family`, where it is there: the account is the buyer's family's."""

    store_id: StoreId
    total_minor: MoneyMinor
    currency: Currency


class PointsAccruedParameters(_OfPurchase, _OfPoints):
    """`points_accrued`: what a purchase earned, and what was paid with points."""

    points: Points
    balance: Balance
    paid: Points = 0
    debt_paid: Points = 0
    activates_at: Moment | None = None
    of_family: bool = False


class PointsReturnedParameters(_OfPurchase, _OfPoints):
    """`points_returned`: what a return or a cancellation took back, and what it gave back."""

    points: Points
    balance: Balance
    cause: Literal["return", "cancellation"]
    refunded: Points = 0
    refund_burned: Points = 0
    refund_debt_paid: Points = 0
    owed: Points = 0
    of_family: bool = False


class PointsExpiringParameters(_OfPoints):
    """`points_expiring`: what burns soon."""

    points: Points
    expires_at: Moment
    balance: Balance


class PointsActivatedParameters(_OfPoints):
    """`points_activated`: what can be spent from now on."""

    points: Points
    balance: Balance


class PointsGivenParameters(_OfPoints):
    """`points_given`: what was given outside of purchases."""

    points: Points
    balance: Balance
    occasion: Occasion = "manual"
    debt_paid: Points = 0
    activates_at: Moment | None = None
    expires_at: Moment | None = None


class PointsCorrectedParameters(_OfPoints):
    """`points_corrected`: what was taken by hand, or put right."""

    points: Annotated[int, Field(ge=-MAX_MINOR, le=MAX_MINOR)]
    balance: Balance
    cause: CorrectionCause
    owed: Points = 0
    debt_paid: Points = 0
    activates_at: Moment | None = None


class NpsQuestionParameters(_OfPurchase):
    """`nps_question`: would the customer recommend us, after a purchase."""


TEMPLATES: Final[Mapping[str, type[Parameters]]] = {
    "points_accrued": PointsAccruedParameters,
    "points_returned": PointsReturnedParameters,
    "points_expiring": PointsExpiringParameters,
    "points_activated": PointsActivatedParameters,
    "points_given": PointsGivenParameters,
    "points_corrected": PointsCorrectedParameters,
    "nps_question": NpsQuestionParameters,
}


def parameters_of(template: str, values: Mapping[str, object]) -> Parameters:
    """The values that the template needs. Raises `Unprocessable` unknown_template, bad_parameters.

    It names each parameter that is missing or cannot be taken, never its value.
    """
    needed = TEMPLATES.get(template)
    if needed is None:
        raise Unprocessable(
            "unknown_template", f"template: there is no {template}; there are {', '.join(sorted(TEMPLATES))}"
        )
    try:
        return needed.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        detail = "; ".join(f"parameters.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
        raise Unprocessable("bad_parameters", detail) from None


def render(template: str, language: Language, parameters: Parameters, time_zone: str) -> str:
    """The text for a customer of that language and time zone; `parameters` as `parameters_of` gives them."""
    zone = zone_of(time_zone)
    values = parameters.model_dump()
    for name, value in values.items():
        if isinstance(value, datetime):
            values[name] = value.astimezone(zone)
        elif name in IN_POINTS:
            values[name] = in_whole_points(value, values["points_scale"] or 0)
    return templates_in(language).get_template(f"{template}.txt").render(values).strip()


@cache
def templates_in(language: Language) -> jinja2.Environment:
    """The language's templates. Sandboxed; a name that is not given is an error; the filters speak the language."""
    locale = Locale(language)

    def number(value: Decimal) -> str:
        return format_decimal(value, NUMBER, locale=locale)

    def money(minor: int, currency: str) -> str:
        return format_money(minor, currency, locale)

    def plural(count: Decimal, **forms: str) -> str:
        return forms[locale.plural_form(abs(count))]

    def minute(moment: datetime) -> str:
        day = format_date(moment, "long", locale=locale)
        return AT[language].format(day=day, time=format_time(moment, "short", locale=locale))

    def first_minute(moment: datetime) -> str:
        """The first whole one from that moment on; a day, where it begins with the day."""
        begins = (moment + MINUTE - MOMENT).replace(second=0, microsecond=0)
        is_midnight = (begins.hour, begins.minute) == (0, 0)
        return format_date(begins, "long", locale=locale) if is_midnight else minute(begins)

    def last_minute(moment: datetime) -> str:
        """The last one before that moment: what ends at midnight ends on the day before."""
        return minute(moment - MOMENT)

    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(FOLDER / language),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # plain text, sent without a parse mode
    )
    filters: dict[str, Any] = {
        "number": number,
        "money": money,
        "plural": plural,
        "first_minute": first_minute,
        "last_minute": last_minute,
    }
    environment.filters.update(filters)
    return environment
