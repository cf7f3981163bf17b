"""The bot's texts, in the language of the person's Telegram, or else the one that the customer is written to in."""

from gettext import NullTranslations
from pathlib import Path
from typing import Final

from babel.numbers import format_decimal

from chassis.field_faults import N_
from chassis.languages import translator
from contracts.fields import Language

PACKAGE: Final = Path(__file__).parent

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


def points_words(language: Language, points: int) -> str:
    """`204` -> "204 points"."""
    texts = words(language)
    number = format_decimal(points, locale=language)
    return texts.ngettext("{number} point", "{number} points", abs(points)).format(number=number)
