"""The texts of messages: a template a language in `templates/<language>/<name>.txt`, and what each one needs.

Plural forms are CLDR's (Babel): a template names each form of its language. Texts are plain, without markup.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import jinja2
from babel import Locale
from babel.numbers import format_decimal
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chassis.envelope import Unprocessable
from contracts.fields import MAX_MINOR, Currency, Language, MoneyMinor, Points, StoreId
from services.messaging.money import format_money

FOLDER: Final = Path(__file__).parent / "templates"


class Parameters(BaseModel):
    """What a template needs. Whoever asks may send more: what no template needs is left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class _OfPurchase(Parameters):
    store_id: StoreId
    total_minor: MoneyMinor
    currency: Currency


class PointsAccruedParameters(_OfPurchase):
    """`points_accrued`: what a purchase earned."""

    points: Points
    balance: Annotated[int, Field(ge=-MAX_MINOR, le=MAX_MINOR)]


class PointsReturnedParameters(PointsAccruedParameters):
    """`points_returned`: what a return or a cancellation took back."""

    cause: Literal["return", "cancellation"]


class NpsQuestionParameters(_OfPurchase):
    """`nps_question`: would the customer recommend us, after a purchase."""


TEMPLATES: Final[Mapping[str, type[Parameters]]] = {
    "points_accrued": PointsAccruedParameters,
    "points_returned": PointsReturnedParameters,
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


def render(template: str, language: Language, parameters: Parameters) -> str:
    """The text for a customer of that language; `parameters` as `parameters_of` gives them."""
    return templates_in(language).get_template(f"{template}.txt").render(parameters.model_dump()).strip()


@cache
def templates_in(language: Language) -> jinja2.Environment:
    """The language's templates. Sandboxed; a name that is not given is an error; the filters speak the language."""
    locale = Locale(language)

    def number(value: int) -> str:
        return format_decimal(value, locale=locale)

    def money(minor: int, currency: str) -> str:
        return format_money(minor, currency, locale)

    def plural(count: int, **forms: str) -> str:
        return forms[locale.plural_form(abs(count))]

    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(FOLDER / language),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # plain text, sent without a parse mode
    )
    filters: dict[str, Any] = {"number": number, "money": money, "plural": plural}
    environment.filters.update(filters)
    return environment
