"""Texts in the reader's language: English in the code, other languages in gettext catalogues beside it.

A package `p` that people read has `p/locales/<language>/LC_MESSAGES/p.po`. Catalogues are read as they are
written: there is no compiled file to forget. Plural forms follow the catalogue's own `Plural-Forms` header.
"""

import io
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Final

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from contracts.fields import Language

LANGUAGES: Final[tuple[Language, ...]] = ("en", "ru")
SOURCE_LANGUAGE: Final[Language] = "en"
CHASSIS: Final = Path(__file__).parent


@cache
def translator(package: Path, language: Language) -> NullTranslations:
    """The texts of the package whose folder is `package`: `.gettext(text)`, `.ngettext(one, many, n)`.

    What its catalogue does not have is looked up in the chassis', and is English otherwise. Jinja templates take
    the same object: `environment.install_gettext_translations(translator(…), newstyle=True)`. Raises
    FileNotFoundError where the package has no catalogue of the language, babel's PoFileError or ValueError where
    it is malformed.
    """
    if language == SOURCE_LANGUAGE:
        return NullTranslations()
    texts = _read(package, language)
    if package != CHASSIS:
        texts.add_fallback(translator(CHASSIS, language))
    return texts


def catalogue_path(package: Path, language: Language) -> Path:
    """Where the package keeps its texts in the language."""
    return package / "locales" / language / "LC_MESSAGES" / f"{package.name}.po"


def preferred_language(accept_language: str | None) -> Language:
    """The language that `Accept-Language` (RFC 9110, section 12.5.4) likes best; English where it names none."""
    best: tuple[float, Language] = (0.0, SOURCE_LANGUAGE)
    for choice in (accept_language or "").split(","):
        tag, _, parameter = choice.partition(";")
        for language in LANGUAGES:
            if tag.strip().lower().partition("-")[0] == language:
                best = max(best, (_quality(parameter), language), key=lambda liked: liked[0])
    return best[1]


def _quality(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    try:
        return float(value) if name.strip().lower() == "q" else 1.0
    except ValueError:
        return 0.0


def _read(package: Path, language: Language) -> GNUTranslations:
    with catalogue_path(package, language).open("rb") as source:
        catalogue = read_po(source, locale=language, abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)
