from pathlib import Path

import pytest
from babel.messages.pofile import PoFileError
from jinja2 import Environment

from chassis.languages import CHASSIS, catalogue_path, preferred_language, translator

RUSSIAN_HEADER = """\
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : "
"n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);\\n"

"""
POINTS = """\
msgid "{n} point"
msgid_plural "{n} points"
msgstr[0] "{n} балл"
msgstr[1] "{n} балла"
msgstr[2] "{n} баллов"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    package = tmp_path / "shop"
    path = catalogue_path(package, "ru")
    path.parent.mkdir(parents=True)
    path.write_text(RUSSIAN_HEADER + POINTS, encoding="utf-8")
    return package


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "0 баллов"),
        (1, "1 балл"),
        (2, "2 балла"),
        (5, "5 баллов"),
        (11, "11 баллов"),
        (14, "14 баллов"),
        (21, "21 балл"),
        (57, "57 баллов"),
        (101, "101 балл"),
        (111, "111 баллов"),
        (1022, "1022 балла"),
    ],
)
def test_russian_counts_as_russian_does(shop: Path, n: int, words: str) -> None:
    assert translator(shop, "ru").ngettext("{n} point", "{n} points", n).format(n=n) == words


def test_english_needs_no_catalogue(tmp_path: Path) -> None:
    english = translator(tmp_path, "en")
    assert english.ngettext("{n} point", "{n} points", 1) == "{n} point"
    assert english.ngettext("{n} point", "{n} points", 5) == "{n} points"


def test_what_a_service_does_not_say_itself_the_chassis_says(shop: Path) -> None:
    assert translator(shop, "ru").gettext("is needed") == translator(CHASSIS, "ru").gettext("is needed") != "is needed"


def test_a_text_without_translation_stays_english(shop: Path) -> None:
    assert translator(shop, "ru").gettext("Nobody says this") == "Nobody says this"


def test_a_template_speaks_through_the_same_catalogue(shop: Path) -> None:
    environment = Environment(extensions=["jinja2.ext.i18n"], autoescape=True)
    environment.install_gettext_translations(translator(shop, "ru"), newstyle=True)  # type: ignore[attr-defined]
    template = environment.from_string("{{ ngettext('{n} point', '{n} points', n).format(n=n) }}")
    assert template.render(n=3) == "3 балла"


def test_a_package_without_its_catalogue_is_found_out_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        translator(tmp_path / "nothing", "ru")


def test_a_malformed_catalogue_is_found_out_at_once(tmp_path: Path) -> None:
    path = catalogue_path(tmp_path / "broken", "ru")
    path.parent.mkdir(parents=True)
    path.write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(PoFileError):
        translator(tmp_path / "broken", "ru")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("ru", "ru"),
        ("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", "ru"),
        ("RU", "ru"),
        ("en-GB, ru;q=0.9", "en"),
        ("ru;q=0.5, en;q=0.8", "en"),
        ("de, fr;q=0.9, ru;q=0.1", "ru"),
        ("de, fr", "en"),
        ("*", "en"),
        ("ru;q=0", "en"),
        ("ru;q=nonsense", "en"),
        ("ru;q=nan", "en"),
        ("rumantsch", "en"),
        (";;,,=q;ru", "en"),
    ],
)
def test_the_caller_gets_the_language_they_like_best_of_those_we_speak(header: str | None, language: str) -> None:
    assert preferred_language(header) == language
