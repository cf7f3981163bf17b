"""Sums of money as people of a language write them."""

from decimal import Decimal
from typing import Final

from babel import Locale
from babel.numbers import format_currency, get_currency_symbol

EXPONENTS: Final = {
    **dict.fromkeys(
        (
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""Digits of the smallest unit where they are not two (ISO 4217, list one)."""


def format_money(minor: int, currency: str, locale: Locale) -> str:
    """`114000` RUB -> `RUB 1,140` or `1 140 ₽`; the fraction is left out where it is nothing."""
    exponent = EXPONENTS.get(currency, 2)
    major = Decimal(minor).scaleb(-exponent)
    fraction = "." + "0" * exponent if major != major.to_integral_value() else ""
    pattern = locale.currency_formats["standard"].pattern.replace(".00", fraction)
    if pattern.startswith("¤") and get_currency_symbol(currency, locale)[-1].isalpha():
        pattern = pattern.replace("¤", "¤\N{NO-BREAK SPACE}")
    return format_currency(major, currency, format=pattern, locale=locale, currency_digits=False)
