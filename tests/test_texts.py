"""Each text that people read is in both languages, and every translation can take the values of its text."""

import string
from collections.abc import Sequence
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po

from chassis.field_faults import OF_CONTRACTS
from chassis.languages import LANGUAGES, SOURCE_LANGUAGE, catalogue_path
from contracts.fields import Language
from tests.texts import Text, error_types_of, texts_of, texts_of_contracts

REPOSITORY = Path(__file__).parent.parent
PACKAGES = [REPOSITORY / "chassis", *sorted(path.parent for path in (REPOSITORY / "services").glob("*/__init__.py"))]
CASES = [
    pytest.param(package, language, id=f"{package.name}-{language}")
    for package in PACKAGES
    for language in LANGUAGES
    if language != SOURCE_LANGUAGE
]


@pytest.mark.parametrize(("package", "language"), CASES)
def test_every_text_is_translated_and_no_translation_is_left_over(package: Path, language: Language) -> None:
    said = _said(package)
    catalogue = _catalogue(package, language)
    of_all = _catalogue(REPOSITORY / "chassis", language)

    assert sorted(map(str, said - catalogue.keys() - of_all.keys())) == []
    assert sorted(map(str, catalogue.keys() - said)) == []
    assert [str(text) for text, message in catalogue.items() if not all(_translations(message)) or message.fuzzy] == []


@pytest.mark.parametrize(("package", "language"), CASES)
def test_a_translation_takes_no_value_that_its_text_does_not_give(package: Path, language: Language) -> None:
    for text, message in _catalogue(package, language).items():
        given = _names(text if isinstance(text, str) else text[-1])
        for translation in _translations(message):
            assert _names(translation) <= given, translation
        assert given <= set().union(*map(_names, _translations(message))), text


def test_each_error_type_of_the_contracts_is_told_in_words_of_ours() -> None:
    assert error_types_of(REPOSITORY / "contracts") == OF_CONTRACTS.keys()


def _said(package: Path) -> set[Text]:
    if package.name == "chassis":
        return texts_of(package) | texts_of_contracts(REPOSITORY / "contracts")
    return texts_of(package)


def _catalogue(package: Path, language: Language) -> dict[Text, Message]:
    path = catalogue_path(package, language)
    if not path.exists():
        return {}
    with path.open("rb") as source:
        catalogue = read_po(source, locale=language, abort_invalid=True)
    return {_text(message.id): message for message in catalogue if message.id}


def _text(forms: str | Sequence[str]) -> Text:
    return forms if isinstance(forms, str) else tuple(forms)


def _translations(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string or [])


def _names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}
