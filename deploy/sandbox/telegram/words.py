"""The sandbox's texts: the page's in the language it asks for, the operator's in the terminal's."""

from pathlib import Path
from typing import Final

from babel.messages.pofile import read_po

from chassis.languages import SOURCE_LANGUAGE, catalogue_path, translator
from contracts.fields import Language
from deploy.words import operator_language

PACKAGE: Final = Path(__file__).parent


def _(text: str) -> str:
    """The text in the operator's language."""
    return translator(PACKAGE, operator_language()).gettext(text)


def page_words(language: Language) -> dict[str, str]:
    """What the page's English texts are in the language; nothing for English."""
    if language == SOURCE_LANGUAGE:
        return {}
    with catalogue_path(PACKAGE, language).open("rb") as source:
        catalogue = read_po(source, locale=language, abort_invalid=True)
    return {message.id: str(message.string) for message in catalogue if isinstance(message.id, str) and message.id}
