import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po

from chassis.languages import catalogue_path
from deploy.words import operator_language
from tests.texts import texts_of

DEPLOY = Path(__file__).parent.parent.parent / "deploy"


@pytest.fixture
def catalogue() -> dict[object, Message]:
    with catalogue_path(DEPLOY, "ru").open("rb") as source:
        return {message.id: message for message in read_po(source, locale="ru", abort_invalid=True) if message.id}


def test_every_text_of_the_command_is_translated_and_no_translation_is_left_over(
    catalogue: dict[object, Message],
) -> None:
    said = texts_of(DEPLOY)
    of_the_sandbox = texts_of(DEPLOY / "sandbox")  # the sandbox has a catalogue of its own
    assert sorted(map(str, (said - of_the_sandbox) - catalogue.keys())) == []
    assert sorted(map(str, catalogue.keys() - said)) == []
    assert [message.id for message in catalogue.values() if not message.string or message.fuzzy] == []


def test_a_translation_takes_the_values_of_its_text(catalogue: dict[object, Message]) -> None:
    for message in catalogue.values():
        assert not list(message.check()), message.id


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({"LANG": "ru_RU.UTF-8"}, "ru"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "ru_RU.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "C", "KOPILKA_LANG": "ru"}, "ru"),
        ({"LANG": "ru_RU.UTF-8", "KOPILKA_LANG": "en"}, "en"),
        ({}, "en"),
    ],
)
def test_the_operators_language_is_the_chosen_one_else_the_terminals(
    environ: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KOPILKA_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert operator_language() == language


@pytest.mark.parametrize(
    ("language", "words"), [("en", "Run and operate Kopilka."), ("ru", "Запуск Копилки и управление ею.")]
)
def test_the_command_speaks_the_operators_language(language: str, words: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "deploy", "--help"],
        cwd=DEPLOY.parent,
        env={"KOPILKA_LANG": language, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert words in answer.stdout
