from datetime import UTC, datetime
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
from services.messaging.texts import FOLDER, IN_POINTS, TEMPLATES, parameters_of, render, templates_in

EXAMPLES: dict[str, dict[str, object]] = {
    "store_id": {"store_id": "367"},
    "total_minor": {"total_minor": 114000},
    "currency": {"currency": "RUB"},
    "points": {"points": 57},
    "balance": {"balance": 204},
    "paid": {"paid": 100},
    "debt_paid": {"debt_paid": 7},
    "refunded": {"refunded": 40},
    "refund_burned": {"refund_burned": 2},
    "refund_debt_paid": {"refund_debt_paid": 3},
    "owed": {"owed": 5},
    "occasion": {"occasion": "birthday"},
    "of_family": {"of_family": True},
    "points_scale": {"points_scale": 0},
    "activates_at": {"activates_at": "2025-11-16T00:00:00+03:00"},
    "expires_at": {"expires_at": "2026-11-16T00:00:00+03:00"},
}
CAUSES = {"points_returned": "return", "points_corrected": "purchase"}
NBSP = "\N{NO-BREAK SPACE}"
PURCHASE = {"store_id": "367", "total_minor": 114000, "currency": "RUB", "balance": 204}


def example(template: str) -> dict[str, object]:
    known: dict[str, dict[str, object]] = {**EXAMPLES, "cause": {"cause": CAUSES.get(template)}}
    return {name: known[name][name] for name in TEMPLATES[template].model_fields}


def text_of(template: str, language: Language, values: dict[str, object], time_zone: str = "Europe/Moscow") -> str:
    """As people see it: spaces of all kinds are plain ones."""
    parameters = parameters_of(template, {**PURCHASE, **values})
    return " ".join(render(template, language, parameters, time_zone).split())


@pytest.mark.parametrize(("template", "language"), [*product(TEMPLATES, LANGUAGES)])
def test_every_template_is_there_in_both_languages_and_renders_with_its_declared_parameters(
    template: str, language: Language
) -> None:
    text = render(template, language, parameters_of(template, example(template)), "Europe/Moscow")

    assert any(number in text for number in ("367", "57"))
    assert text == text.strip()
    assert "\n" not in text


@pytest.mark.parametrize(("template", "language"), [*product(TEMPLATES, LANGUAGES)])
def test_a_template_uses_just_what_it_declares(template: str, language: Language) -> None:
    environment = templates_in(language)
    source = (FOLDER / language / f"{template}.txt").read_text(encoding="utf-8")

    used = meta.find_undeclared_variables(environment.parse(source))
    assert used == set(TEMPLATES[template].model_fields) - {"points_scale"}


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name.startswith("points_")])
def test_all_numbers_of_a_message_but_money_are_told_by_the_scale_of_the_points(template: str) -> None:
    numbers = {name for name, values in EXAMPLES.items() if isinstance(values[name], int)}
    told = set(TEMPLATES[template].model_fields) & numbers - {"total_minor", "of_family", "points_scale"}

    assert told <= IN_POINTS
    assert "points_scale" in TEMPLATES[template].model_fields


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

    assert render("points_accrued", language, parameters, "Europe/Moscow") == text.replace("_", NBSP)


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

    assert render("points_returned", language, parameters, "Europe/Moscow") == text.replace("_", NBSP)


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
    scale=st.integers(0, 6),
    some=st.integers(0, 10**13),
    balance=st.integers(-(10**13), 10**13),
    total_minor=st.integers(0, 10**13),
    currency=st.sampled_from(["RUB", "USD", "EUR", "JPY", "KWD", "XXX"]),
    moment=st.integers(946_684_800, 4_102_444_800).map(lambda second: datetime.fromtimestamp(second, UTC)),
    time_zone=st.sampled_from(["Europe/Moscow", "Asia/Vladivostok", "Pacific/Kiritimati", "Nowhere/Here"]),
)
def test_anything_can_be_told(
    language: Language,
    points: int,
    scale: int,
    some: int,
    balance: int,
    total_minor: int,
    currency: str,
    moment: datetime,
    time_zone: str,
) -> None:
    money = {"store_id": "1", "total_minor": total_minor, "currency": currency}
    parts = dict.fromkeys(("paid", "debt_paid", "refunded", "refund_burned", "refund_debt_paid", "owed"), some)
    moments = {"activates_at": moment, "expires_at": moment}
    for template in TEMPLATES:
        of_account = {"points": points, "balance": balance, "points_scale": scale, "cause": CAUSES.get(template)}
        values = {**money, **parts, **moments, **of_account}

        assert 0 < len(render(template, language, parameters_of(template, values), time_zone)) < 4096


@pytest.mark.parametrize(
    ("language", "values", "text"),
    [
        (
            "en",
            {"paid": 100},
            "+57 points for your purchase of RUB 1,140 at store 367; paid with 100 points; balance 204",
        ),
        ("en", {"points": 0, "paid": 1}, "−1 point paid for your purchase of RUB 1,140 at store 367; balance 204"),
        (
            "en",
            {"debt_paid": 20},
            "+57 points for your purchase of RUB 1,140 at store 367, 20 of them went to what was owed; balance 204",
        ),
        (
            "en",
            {"activates_at": "2025-11-16T00:00:00+03:00", "balance": 147},
            "+57 points for your purchase of RUB 1,140 at store 367, they can be spent from November 16, 2025;"
            " can be spent now: 147",
        ),
        ("ru", {"paid": 100}, "+57 баллов за покупку на 1 140 ₽ в магазине 367; оплачено баллами: 100; на счёте 204"),
        ("ru", {"points": 0, "paid": 2}, "−2 балла в оплату покупки на 1 140 ₽ в магазине 367; на счёте 204"),
        (
            "ru",
            {"of_family": True},
            "+57 баллов на семейный счёт за покупку на 1 140 ₽ в магазине 367; на семейном счёте 204",
        ),
        (
            "ru",
            {"of_family": True, "points": 0, "paid": 2},
            "−2 балла с семейного счёта в оплату покупки на 1 140 ₽ в магазине 367; на семейном счёте 204",
        ),
        (
            "ru",
            {"activates_at": "2025-11-16T00:00:01+03:00", "balance": 147},
            "+57 баллов за покупку на 1 140 ₽ в магазине 367, их можно потратить с 16 ноября 2025 г. в 00:01;"
            " сейчас доступно 147",
        ),
    ],
)
def test_one_message_tells_what_a_purchase_earned_what_it_was_paid_with_and_from_when_it_can_be_spent(
    language: Language, values: dict[str, object], text: str
) -> None:
    assert text_of("points_accrued", language, {"points": 57, **values}) == text


@pytest.mark.parametrize(
    ("language", "points", "scale", "text"),
    [
        ("ru", 450, 2, "+4,5 балла за"),
        ("ru", 400, 2, "+4 балла за"),
        ("ru", 500, 2, "+5 баллов за"),
        ("ru", 100, 2, "+1 балл за"),
        ("ru", 2100, 2, "+21 балл за"),
        ("ru", 2110, 2, "+21,1 балла за"),
        ("ru", 5, 2, "+0,05 балла за"),
        ("ru", 123_456_789, 6, "+123,456789 балла за"),
        ("en", 450, 2, "+4.5 points for"),
        ("en", 100, 2, "+1 point for"),
        ("en", 150, 2, "+1.5 points for"),
        ("en", 123_450, 2, "+1,234.5 points for"),
        ("en", 10**13, 6, "+10,000,000 points for"),
    ],
)
def test_points_of_a_currency_with_a_scale_are_told_in_whole_ones(
    language: Language, points: int, scale: int, text: str
) -> None:
    assert text_of("points_accrued", language, {"points": points, "points_scale": scale}).startswith(text)


def test_every_number_of_points_is_told_by_the_scale() -> None:
    values: dict[str, object] = {"points": 450, "points_scale": 2, "paid": 1_250, "debt_paid": 50, "balance": -20_499}

    assert text_of("points_accrued", "ru", values) == (
        "+4,5 балла за покупку на 1 140 ₽ в магазине 367, из них 0,5 ушло в счёт долга; оплачено баллами: 12,5;"
        " на счёте -204,99"
    )
    taken = {"points": -150, "points_scale": 2, "cause": "taken"}
    assert text_of("points_corrected", "ru", taken).startswith("−1,5 балла при списании")
    burns = {"points": 150, "points_scale": 2, "expires_at": "2025-11-06T00:00:00+03:00"}
    assert text_of("points_expiring", "ru", burns).startswith("1,5 балла сгорят 5 ноября")


@pytest.mark.parametrize(
    ("language", "values", "text"),
    [
        (
            "en",
            {"points": 12, "refunded": 100},
            "−12 points for your return of RUB 1,140 at store 367; +100 points that you had paid; balance 204",
        ),
        (
            "en",
            {"points": 0, "refunded": 1, "refund_burned": 20},
            "+1 point that you had paid, for your return of RUB 1,140 at store 367;"
            " 20 that you had paid did not come back, their time is over; balance 204",
        ),
        (
            "en",
            {"points": 12, "owed": 5, "balance": 0},
            "−12 points for your return of RUB 1,140 at store 367; 5 of them are owed, the next points pay them;"
            " balance 0",
        ),
        (
            "en",
            {"points": 12, "refunded": 100, "refund_debt_paid": 40},
            "−12 points for your return of RUB 1,140 at store 367; +100 points that you had paid,"
            " 40 of them went to what was owed; balance 204",
        ),
        (
            "en",
            {"points": 0, "refunded": 100, "refund_debt_paid": 100},
            "+100 points that you had paid, for your return of RUB 1,140 at store 367,"
            " 100 of them went to what was owed; balance 204",
        ),
        (
            "ru",
            {"points": 12, "refunded": 100, "refund_debt_paid": 40},
            "−12 баллов за возврат на 1 140 ₽ в магазине 367; +100 баллов из оплаченных, из них 40 ушло в счёт долга;"
            " на счёте 204",
        ),
        (
            "ru",
            {"points": 0, "refunded": 2, "refund_debt_paid": 1},
            "+2 балла из оплаченных за возврат на 1 140 ₽ в магазине 367, из них 1 ушло в счёт долга; на счёте 204",
        ),
        (
            "ru",
            {"points": 12, "refunded": 100},
            "−12 баллов за возврат на 1 140 ₽ в магазине 367; +100 баллов из оплаченных; на счёте 204",
        ),
        (
            "ru",
            {"points": 12, "of_family": True},
            "−12 баллов с семейного счёта за возврат на 1 140 ₽ в магазине 367; на семейном счёте 204",
        ),
        (
            "ru",
            {"points": 0, "refunded": 1},
            "+1 балл из оплаченных за возврат на 1 140 ₽ в магазине 367; на счёте 204",
        ),
    ],
)
def test_one_message_tells_what_a_return_took_back_and_what_it_gave_back(
    language: Language, values: dict[str, object], text: str
) -> None:
    assert text_of("points_returned", language, {"cause": "return", **values}) == text


@pytest.mark.parametrize(
    ("language", "time_zone", "points", "expires_at", "text"),
    [
        ("en", "Europe/Moscow", 30, "2025-11-06T00:00:00+03:00", "30 points burn on November 5, 2025 at 11:59 PM,"),
        ("en", "Asia/Vladivostok", 1, "2025-11-06T00:00:00+03:00", "1 point burns on November 6, 2025 at 6:59 AM,"),
        ("ru", "Europe/Moscow", 30, "2025-11-06T00:00:00+03:00", "30 баллов сгорят 5 ноября 2025 г. в 23:59,"),
        ("ru", "Europe/Kaliningrad", 21, "2025-11-06T14:23:01+03:00", "21 балл сгорит 6 ноября 2025 г. в 13:23,"),
        ("ru", "Nowhere/Here", 2, "2025-11-06T14:23:01Z", "2 балла сгорят 6 ноября 2025 г. в 14:23,"),
    ],
)
def test_what_burns_is_told_with_the_last_minute_of_the_customers_own_clock(
    language: Language, time_zone: str, points: int, expires_at: str, text: str
) -> None:
    told = text_of("points_expiring", language, {"points": points, "expires_at": expires_at}, time_zone)

    assert told.startswith(text)
    assert told.endswith("204")


@pytest.mark.parametrize(
    ("template", "language", "values", "text"),
    [
        ("points_activated", "en", {"points": 1}, "1 point can be spent now; balance 204"),
        ("points_activated", "ru", {"points": 3}, "3 балла теперь можно потратить; на счёте 204"),
        ("points_given", "en", {"points": 100}, "+100 points credited to you; balance 204"),
        ("points_given", "en", {"points": 1, "occasion": "gift"}, "+1 point as a gift; balance 204"),
        (
            "points_given",
            "ru",
            {"points": 100, "occasion": "birthday", "expires_at": "2025-11-16T00:00:00+03:00"},
            "+100 баллов ко дню рождения; что не потрачено, сгорит 15 ноября 2025 г. в 23:59; на счёте 204",
        ),
        (
            "points_given",
            "ru",
            {"points": 22, "occasion": "compensation", "activates_at": "2025-11-16T00:00:00+03:00"},
            "+22 балла в качестве компенсации, их можно потратить с 16 ноября 2025 г.; сейчас доступно 204",
        ),
        ("points_corrected", "en", {"points": -1, "cause": "taken"}, "−1 point taken off your account; balance 204"),
        (
            "points_corrected",
            "en",
            {"points": 57, "cause": "purchase"},
            "+57 points after a check of an earlier purchase; balance 204",
        ),
        (
            "points_corrected",
            "ru",
            {"points": -100, "cause": "taken"},
            "−100 баллов при списании со счёта; на счёте 204",
        ),
        (
            "points_corrected",
            "ru",
            {"points": 2, "cause": "reversed"},
            "+2 балла при исправлении на счёте; на счёте 204",
        ),
        (
            "points_corrected",
            "ru",
            {"points": -57, "cause": "purchase", "owed": 7},
            "−57 баллов после проверки одной из покупок; из них 7 — долг, его покроют следующие баллы; на счёте 204",
        ),
    ],
)
def test_other_changes_of_the_account_are_told_with_their_plural_forms(
    template: str, language: Language, values: dict[str, object], text: str
) -> None:
    assert text_of(template, language, values) == text


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
