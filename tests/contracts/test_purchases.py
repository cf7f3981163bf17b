"""The laws of the records that tills publish."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from chassis.envelope import encode
from chassis.ids import new_id
from contracts.examples import EXAMPLES
from contracts.fields import ean13_check_digit
from contracts.purchases import MAX_LINES, PurchaseCancelled, PurchaseCompleted, PurchaseLine, PurchaseReturned
from contracts.records import Event

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
SUMS = st.integers(0, 10**9)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
QUANTITIES = st.decimals(Decimal("0.001"), Decimal("999999.999"), places=3).map(str)
LINES = TypeAdapter(PurchaseLine)
DECIMALS: TypeAdapter[Decimal] = TypeAdapter(Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=3)])
CARDS = st.from_regex(r"[0-9]{12}", fullmatch=True).map(lambda digits: digits + ean13_check_digit(digits))
Json = dict[str, Any]


@st.composite
def lines(draw: st.DrawFn) -> list[Json]:
    numbers = draw(st.lists(st.integers(1, 10_000), min_size=1, max_size=8, unique=True))
    made = []
    for number in numbers:
        amount = draw(SUMS)
        discount = draw(st.integers(0, amount))
        line = {"line_no": number, "product_id": draw(NAMES), "quantity": draw(QUANTITIES), "amount_minor": amount}
        made.append(line | {"discount_minor": discount, "total_minor": amount - discount})
    return made


@st.composite
def purchases(draw: st.DrawFn) -> Json:
    bought = draw(lines())
    return {
        "card_number": draw(CARDS),
        "receipt_id": draw(NAMES),
        "store_id": draw(NAMES),
        "terminal_id": draw(NAMES),
        "completed_at": draw(MOMENTS).isoformat(),
        "currency": draw(st.from_regex(r"[A-Z]{3}", fullmatch=True)),
        "lines": bought,
        "discount_minor": sum(line["discount_minor"] for line in bought),
        "total_minor": sum(line["total_minor"] for line in bought),
    }


def read(purchase: Json) -> PurchaseCompleted:
    return PurchaseCompleted.model_validate_json(json.dumps(purchase))


def written(record: Event) -> bytes:
    _, value = encode(record, event_id=new_id(), source="/tills", time=datetime.now(UTC), traceparent=None)
    assert value is not None
    return value


def refusal(purchase: Json) -> str:
    with pytest.raises(ValidationError) as refused:
        read(purchase)
    return str(refused.value)


@settings(deadline=None)
@given(purchases())
def test_a_purchase_comes_back_from_json_as_it_was(purchase: Json) -> None:
    record = read(purchase)
    value = written(record)
    assert PurchaseCompleted.model_validate_json(value) == record
    assert written(PurchaseCompleted.model_validate_json(value)) == value
    back = json.loads(value)
    assert datetime.fromisoformat(back.pop("completed_at")) == datetime.fromisoformat(purchase.pop("completed_at"))
    assert back == purchase


@settings(deadline=None)
@given(purchases(), SUMS, st.sampled_from(["total_minor", "discount_minor"]))
def test_a_total_that_is_not_the_sum_of_the_lines_is_refused_by_name(purchase: Json, other: int, field: str) -> None:
    assume(other != purchase[field])
    purchase[field] = other
    assert f"{field} is {other}" in refusal(purchase)


@settings(deadline=None)
@given(purchases(), st.data(), SUMS, st.sampled_from(["total_minor", "discount_minor", "amount_minor"]))
def test_a_line_that_does_not_add_up_is_refused_by_its_number(
    purchase: Json, data: st.DataObject, other: int, field: str
) -> None:
    line = data.draw(st.sampled_from(purchase["lines"]))
    assume(other != line[field])
    line[field] = other
    assert f"line {line['line_no']}: total_minor is not amount_minor - discount_minor" in refusal(purchase)


@settings(deadline=None)
@given(purchases(), st.data())
def test_a_missing_or_negative_sum_is_refused_by_name(purchase: Json, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(["amount_minor", "discount_minor", "total_minor"]))
    purchase["lines"][0][field] = data.draw(st.integers(max_value=-1))
    assert f"lines.0.{field}" in refusal(purchase)
    del purchase["lines"][0]["amount_minor"]
    assert "lines.0.amount_minor" in refusal(purchase)


@settings(deadline=None)
@given(purchases(), st.data())
def test_fields_that_nobody_knows_yet_are_ignored(purchase: Json, data: st.DataObject) -> None:
    newer = {**purchase, "coupon": data.draw(NAMES)}
    newer["lines"] = [{**line, "barcode": "1"} for line in purchase["lines"]]
    assert read(newer) == read(purchase)


def example(record: type[Event], **changes: object) -> Json:
    return {**EXAMPLES[record.type], **changes}


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ({}, "2900000000018"),
        ({"card_number": None}, "+79161234567"),
        ({"card_number": None, "phone": None}, "019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e11"),
    ],
)
@pytest.mark.parametrize("record", [PurchaseCompleted, PurchaseReturned, PurchaseCancelled])
def test_the_key_is_the_card_else_the_phone_else_the_customer(record: type[Event], named: Json, key: str) -> None:
    assert record.model_validate_json(json.dumps(example(record, **named))).key == key


@pytest.mark.parametrize("record", [PurchaseCompleted, PurchaseReturned, PurchaseCancelled])
def test_a_purchase_of_nobody_is_refused(record: type[Event]) -> None:
    nobody = example(record, card_number=None, phone=None, customer_id=None)
    with pytest.raises(ValidationError, match="one of card_number, phone and customer_id is needed"):
        record.model_validate_json(json.dumps(nobody))


def test_two_lines_of_one_number_are_refused() -> None:
    receipt = example(PurchaseCompleted)
    receipt["lines"] = [{**line, "line_no": 1} for line in receipt["lines"]]
    assert "two lines have the same line_no" in refusal(receipt)


def test_a_receipt_without_lines_or_with_too_many_is_refused() -> None:
    for count in (0, MAX_LINES + 1):
        many = [{**example(PurchaseCompleted)["lines"][0], "line_no": number + 1} for number in range(count)]
        assert "lines" in refusal(example(PurchaseCompleted, lines=many))


def test_a_return_whose_lines_do_not_add_up_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="total_minor is 1, but the lines add up to 30000"):
        PurchaseReturned.model_validate_json(json.dumps(example(PurchaseReturned, total_minor=1)))


@given(CARDS, st.integers(0, 12), st.integers(1, 9))
def test_one_wrong_digit_of_an_ean13_card_is_noticed(number: str, place: int, by: int) -> None:
    wrong = number[:place] + str((int(number[place]) + by) % 10) + number[place + 1 :]
    assert "check digit" in refusal(example(PurchaseCompleted, card_number=wrong))


def test_a_time_without_an_offset_is_refused_and_one_with_an_offset_is_kept_in_utc() -> None:
    assert "completed_at" in refusal(example(PurchaseCompleted, completed_at="2025-11-02T15:04:05"))
    assert read(example(PurchaseCompleted)).completed_at == datetime(2025, 11, 2, 12, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "quantity", ["0", "-1", "1.2345", "1234567890123", "1e400", "NaN", "Infinity", "two", "", True, []]
)
def test_a_quantity_that_is_none_is_refused_however_often_it_comes(quantity: Any) -> None:
    line = {"line_no": 1, "product_id": "p", "quantity": quantity, "amount_minor": 1, "total_minor": 1}
    for _ in range(2):
        with pytest.raises(ValidationError, match="quantity"):
            LINES.validate_json(json.dumps(line))


@given(st.from_regex(r"[0-9]{1,10}(\.[0-9]{1,4})?", fullmatch=True) | QUANTITIES)
def test_a_quantity_is_taken_where_a_decimal_would_be_and_means_the_same(quantity: str) -> None:
    line = {"line_no": 1, "product_id": "p", "quantity": quantity, "amount_minor": 1, "total_minor": 1}
    try:
        understood = DECIMALS.validate_python(quantity)
    except ValidationError:
        with pytest.raises(ValidationError, match="quantity"):
            LINES.validate_json(json.dumps(line))
    else:
        assert Decimal(LINES.validate_json(json.dumps(line)).quantity) == understood


@pytest.mark.parametrize(("said", "kept"), [("2.150", "2.150"), ("007", "7"), ("1e2", "100"), (2, "2"), (0.5, "0.5")])
def test_a_quantity_in_its_usual_spelling_is_kept_as_it_was_written(said: object, kept: str) -> None:
    line = {"line_no": 1, "product_id": "p", "quantity": said, "amount_minor": 1, "total_minor": 1}
    assert LINES.validate_json(json.dumps(line)).quantity == kept
