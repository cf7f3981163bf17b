"""Currencies: how many digits their smallest unit has, of money by its code, of points by their scale."""

from decimal import Decimal
from typing import Final

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


def exponent_of(currency: str) -> int:
    """Digits of the currency's smallest unit."""
    return EXPONENTS.get(currency, 2)


def in_major_units(minor: int, currency: str) -> Decimal:
    """`114000` RUB -> `1140.00`."""
    return Decimal(minor).scaleb(-exponent_of(currency))


def in_whole_points(points: int, scale: int) -> Decimal:
    """`450` of scale 2 -> `4.5`, without zeros at the end: what is whole takes the plural form of a whole number."""
    whole = Decimal(points).scaleb(-scale)
    return whole.quantize(Decimal(1)) if whole == whole.to_integral_value() else whole.normalize()
