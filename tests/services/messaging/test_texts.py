from itertools import product

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError, meta

from chassis.envelope import Unprocessable
from chassis.languages import LANGUAGES
from contracts.fields import Language
from services.messaging.money import format_money
from services.messaging.texts import FOLDER, TEMPLATES, parameters_of, render, templates_in

EXAMPLES: dict[str, dict[str, object]] = {
    "store_id": {"store_id": "367"},
    "total_minor": {"total_minor": 114000},
    "currency": {"currency": "RUB"},
    "points": {"points": 57},
    "balance": {"balance": 204},
    "cause": {"cause": "return"},
}
NBSP = "\N{NO-BREAK SPACE}"
PURCHASE = {"store_id": "367", "total_minor": 114000, "currency": "RUB", "balance": 204}


def example(template: str) -> dict[str, object]:
    return {name: EXAMPLES[name][name] for name in TEMPLATES[template].model_fields}


@pytest.mark.parametrize(("template", "language"), [*product(TEMPLATES, LANGUAGES)])
def test_every_template_is_there_in_both_languages_and_renders_with_its_declared_parameters(
    template: str, language: Language
) -> None:
    text = render(template, language, parameters_of(template, example(template)))

    assert "367" in text
    assert text == text.strip()
    assert "\n" not in text


@pytest.mark.parametrize(("template", "language"), [*product(TEMPLATES, LANGUAGES)])
def test_a_template_uses_just_what_it_declares(template: str, language: Language) -> None:
    environment = templates_in(language)
    source = (FOLDER / language / f"{template}.txt").read_text(encoding="utf-8")

    assert meta.find_undeclared_variables(environment.parse(source)) == set(TEMPLATES[template].model_fields)


def test_no_template_is_left_over() -> None:
    for language in LANGUAGES:
        assert {path.stem for path in (FOLDER / language).iterdir()} == set(TEMPLATES)


@pytest.mark.parametrize(
    ("language", "points", "text"),
    [
        ("en", 57, "+57 points for your purchase of RUB_1,140 at store 367; balance 204"),
        ("en", 1, "+1 point for your purchase of RUB_1,140 at store 367; balance 204"),
        ("en", 1500, "+1,500 points for your purchase of RUB_1,140 at store 367; balance 204"),
        ("en", 0, "No points for your purchase of RUB_1,140 at store 367 this time; balance 204"),
        ("ru", 57, "+57 баллов за покупку на 1_140_₽ в магазине 367; на счёте 204"),
        ("ru", 1, "+1 балл за покупку на 1_140_₽ в магазине 367; на счёте 204"),
        ("ru", 3, "+3 балла за покупку на 1_140_₽ в магазине 367; на счёте 204"),
        ("ru", 11, "+11 баллов за покупку на 1_140_₽ в магазине 367; на счёте 204"),
        ("ru", 21, "+21 балл за покупку на 1_140_₽ в магазине 367; на счёте 204"),
        ("ru", 1502, "+1_502 балла за покупку на 1_140_₽ в магазине 367; на счёте 204"),
        ("ru", 0, "За покупку на 1_140_₽ в магазине 367 в этот раз баллов нет; на счёте 204"),
    ],
)
def test_a_purchase_is_told_in_the_customers_language_with_its_plural_forms(
    language: Language, points: int, text: str
) -> None:
    parameters = parameters_of("points_accrued", {**PURCHASE, "points": points})

    assert render("points_accrued", language, parameters) == text.replace("_", NBSP)


@pytest.mark.parametrize(
    ("language", "points", "cause", "text"),
    [
        ("en", 1, "return", "−1 point for your return of RUB_1,140 at store 367; balance 204"),
        ("en", 0, "return", "No points taken back for your return of RUB_1,140 at store 367; balance 204"),
        ("en", 2, "cancellation", "−2 points for your cancelled purchase of RUB_1,140 at store 367; balance 204"),
        ("ru", 2, "return", "−2 балла за возврат на 1_140_₽ в магазине 367; на счёте 204"),
        ("ru", 0, "return", "За возврат на 1_140_₽ в магазине 367 баллы не списаны; на счёте 204"),
        ("ru", 5, "cancellation", "−5 баллов за отмену покупки на 1_140_₽ в магазине 367; на счёте 204"),
    ],
)
def test_a_return_and_a_cancellation_are_told_as_such(language: Language, points: int, cause: str, text: str) -> None:
    parameters = parameters_of("points_returned", {**PURCHASE, "points": points, "cause": cause})

    assert render("points_returned", language, parameters) == text.replace("_", NBSP)


@pytest.mark.parametrize(
    ("minor", "currency", "language", "text"),
    [
        (114000, "RUB", "ru", "1_140_₽"),
        (114050, "RUB", "ru", "1_140,50_₽"),
        (114050, "RUB", "en", "RUB_1,140.50"),
        (5, "USD", "en", "$0.05"),
        (0, "USD", "ru", "0_$"),
        (1140, "JPY", "en", "¥1,140"),
        (1140500, "KWD", "en", "KWD_1,140.500"),
        (123456789012300, "RUB", "ru", "1_234_567_890_123_₽"),
    ],
)
def test_money_is_written_as_people_of_the_language_write_it(
    minor: int, currency: str, language: Language, text: str
) -> None:
    assert format_money(minor, currency, Locale(language)) == text.replace("_", NBSP)


@given(
    language=st.sampled_from(LANGUAGES),
    points=st.integers(0, 10**13),
    balance=st.integers(-(10**13), 10**13),
    total_minor=st.integers(0, 10**13),
    currency=st.sampled_from(["RUB", "USD", "EUR", "JPY", "KWD", "XXX"]),
)
def test_any_purchase_can_be_told(
    language: Language, points: int, balance: int, total_minor: int, currency: str
) -> None:
    given_values = {"points": points, "balance": balance, "total_minor": total_minor, "currency": currency}
    for template in ("points_accrued", "points_returned"):
        parameters = parameters_of(template, {"store_id": "1", "cause": "return", **given_values})

        assert 0 < len(render(template, language, parameters)) < 4096


def test_an_unknown_template_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Unprocessable, match=r"unknown_template: template: there is no birthday; there are nps_q"):
        parameters_of("birthday", {})


def test_a_missing_parameter_is_named_and_a_bad_one_is_not_quoted() -> None:
    with pytest.raises(Unprocessable) as refused:
        parameters_of("nps_question", {"total_minor": "a secret", "currency": "RUB"})

    assert refused.value.reason == "bad_parameters"
    assert "parameters.store_id: Field required" in refused.value.detail
    assert "parameters.total_minor: " in refused.value.detail
    assert "secret" not in refused.value.detail


def test_a_name_that_is_not_given_is_an_error_and_not_an_empty_place() -> None:
    with pytest.raises(UndefinedError):
        templates_in("en").from_string("{{ nobody }}").render()
