"""The operator's language: KOPILKA_LANG, else the terminal's (LC_ALL, LC_MESSAGES, LANG); Russian or English."""

import os
from functools import cache
from gettext import NullTranslations
from pathlib import Path

from chassis.languages import LANGUAGES, SOURCE_LANGUAGE, translator
from contracts.fields import Language


def operator_language() -> Language:
    """The first of the variables that is set decides, as in gettext itself."""
    chosen = next(filter(None, map(os.environ.get, ("KOPILKA_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return next((language for language in LANGUAGES if chosen.lower().startswith(language)), SOURCE_LANGUAGE)


@cache
def _texts() -> NullTranslations:
    return translator(Path(__file__).parent, operator_language())


def _(text: str) -> str:
    """The text in the operator's language."""
    return _texts().gettext(text)


def ngettext(one: str, many: str, count: int) -> str:
    """The form of the text that goes with the count."""
    return _texts().ngettext(one, many, count)
