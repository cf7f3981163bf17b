"""Sums of money as people of a language write them."""

from babel import Locale
from babel.numbers import format_currency, get_currency_symbol

from contracts.currencies import exponent_of, in_major_units


def format_money(minor: int, currency: str, locale: Locale) -> str:
    """`114000` RUB -> `RUB 1,140` or `1 140 ₽`; the fraction is left out where it is nothing."""
    major = in_major_units(minor, currency)
    fraction = "." + "0" * exponent_of(currency) if major != major.to_integral_value() else ""
    pattern = locale.currency_formats["standard"].pattern.replace(".00", fraction)
    if pattern.startswith("¤") and get_currency_symbol(currency, locale)[-1].isalpha():
        pattern = pattern.replace("¤", "¤\N{NO-BREAK SPACE}")
    return format_currency(major, currency, format=pattern, locale=locale, currency_digits=False)
