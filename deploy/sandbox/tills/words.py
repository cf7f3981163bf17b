"""The tills' texts, in the language of the operator's terminal."""

from pathlib import Path
from typing import Final

from chassis.languages import translator
from deploy.words import operator_language

PACKAGE: Final = Path(__file__).parent


def _(text: str) -> str:
    """The text in the operator's language."""
    return translator(PACKAGE, operator_language()).gettext(text)
