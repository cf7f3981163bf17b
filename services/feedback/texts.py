"""The bot's texts, in the language of the person's Telegram, or else the one that the customer is written to in."""

from decimal import Decimal
from gettext import NullTranslations
from pathlib import Path
from typing import Final

from babel.numbers import format_decimal

from chassis.field_faults import N_
from chassis.languages import translator
from contracts.fields import Language

PACKAGE: Final = Path(__file__).parent
NUMBER: Final = "#,##0.######"

COMMANDS: Final = {
    "balance": N_("Points on your card"),
    "help": N_("What I can do"),
    "stop": N_("Unlink this chat"),
}
"""The bot's menu; /start is Telegram's own."""


def words(language: Language) -> NullTranslations:
    """`.gettext(text)`, `.ngettext(one, many, n)` of this service."""
    return translator(PACKAGE, language)


def language_of(language_code: str | None) -> Language | None:
    """Telegram's `language_code` (IETF tag); None where the person's app does not tell."""
    if not language_code:
        return None
    return "ru" if language_code.lower().partition("-")[0] == "ru" else "en"


def points_words(language: Language, points: Decimal) -> str:
    """`204` -> "204 points". A fraction takes the form of two in both languages: 4.5 points, 4,5 балла."""
    texts = words(language)
    count = abs(int(points)) if points == int(points) else 2
    return texts.ngettext("{number} point", "{number} points", count).format(number=number_words(language, points))


def number_words(language: Language, number: Decimal) -> str:
    """`1204.5` -> "1,204.5"."""
    return format_decimal(number, NUMBER, locale=language)
