"""Understanding records: each fault has its reason, names its field, and ends in nothing worse than a dead letter."""

import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.envelope import Headers, Heard, Raw, Unprocessable, decode, encode, pack_headers, unpack_headers
from chassis.ids import new_id
from contracts.customers import ContactErased
from contracts.purchases import PurchaseCancelled, PurchaseCompleted
from tests.chassis.purchase_records import KNOWN, NOW, VALUE_MAX_BYTES, cancelled, raw_of, with_header, without_header

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
NEEDED = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"]
header_bytes = st.one_of(st.none(), st.binary(max_size=30), st.text(max_size=30).map(str.encode))


def understood(raw: Raw) -> Heard:
    heard = decode(raw, KNOWN, value_max_bytes=VALUE_MAX_BYTES)
    assert heard is not None
    return heard


def why_not(raw: Raw) -> Unprocessable:
    with pytest.raises(Unprocessable) as caught:
        decode(raw, KNOWN, value_max_bytes=VALUE_MAX_BYTES)
    return caught.value


def with_text(text: str) -> Raw:
    value = json.loads(raw_of(cancelled()).value or b"") | {"comment": text}
    return raw_of(cancelled(), value=json.dumps(value).encode())


def test_what_is_encoded_is_understood_the_same() -> None:
    record, event_id = cancelled(), new_id()
    headers, value = encode(record, event_id=event_id, source="/tills/1", time=NOW, traceparent=TRACE)
    heard = understood(replace(raw_of(record), headers=headers, value=value))
    assert (heard.record, heard.event_id, heard.source, heard.time) == (record, event_id, "/tills/1", NOW)
    assert heard.traceparent == TRACE


def test_a_type_that_is_not_heard_is_skipped_whatever_else_it_carries() -> None:
    raw = with_header(raw_of(cancelled()), "ce_type", b"pos.drawer_opened.v1")
    assert decode(replace(raw, value=b"not json"), KNOWN, value_max_bytes=10) is None


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("empty", ["left out", "empty", "null"])
def test_a_needed_header_that_is_not_there_is_named(name: str, empty: str) -> None:
    raw = raw_of(cancelled())
    raw = (
        without_header(raw, name) if empty == "left out" else with_header(raw, name, b"" if empty == "empty" else None)
    )
    why = why_not(raw)
    assert why.reason == "missing_header"
    assert name in why.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_specversion", b"0.3"),
        ("ce_id", b"17"),
        ("ce_source", b"x" * 201),
        ("ce_source", b"till\0"),
        ("ce_source", b"\xff"),
        ("ce_type", b"pos.purchase_cancelled"),
        ("ce_time", b"yesterday"),
        ("ce_time", b"2025-11-02T15:04:05"),
        ("content-type", b"application/avro"),
        ("content-type", b"\xff"),
    ],
)
def test_a_header_that_makes_no_sense_is_named(name: str, value: bytes) -> None:
    why = why_not(with_header(raw_of(cancelled()), name, value))
    assert why.reason == "bad_header"
    assert name in why.detail


@given(st.dictionaries(st.sampled_from([*NEEDED, "traceparent", "x"]), header_bytes), st.binary(max_size=50))
def test_no_headers_and_no_bytes_whatever_do_more_than_kill_the_record(
    headers: dict[str, bytes | None], value: bytes
) -> None:
    raw = raw_of(cancelled())
    bad = tuple((dict(raw.headers) | headers).items())
    for each in (replace(raw, headers=bad), replace(raw, value=value), replace(raw, headers=bad, value=value)):
        try:
            decode(each, KNOWN, value_max_bytes=VALUE_MAX_BYTES)
        except Unprocessable as why:
            assert why.reason in {"missing_header", "bad_header", "unknown_version", "not_json", "invalid"}


def test_another_version_of_a_known_type_is_a_dead_letter_and_names_those_that_are_known() -> None:
    why = why_not(with_header(raw_of(cancelled()), "ce_type", b"pos.purchase_cancelled.v2"))
    assert why.reason == "unknown_version"
    assert PurchaseCancelled.type in why.detail


def test_a_known_type_on_another_topic_is_a_dead_letter() -> None:
    assert why_not(replace(raw_of(cancelled()), topic="customers.events")).reason == "wrong_topic"


@pytest.mark.parametrize("trace", [b"no trace", b"x" * 55, b"", None, TRACE.encode().replace(b"a", b"\0")])
def test_a_malformed_trace_is_left_out_and_costs_nothing(trace: bytes | None) -> None:
    raw = raw_of(cancelled())
    assert understood(replace(raw, headers=(*raw.headers, ("traceparent", trace)))).traceparent is None


@pytest.mark.parametrize("value", [b"{", b"\xff\xfe", b'{"receipt_id": "\0"}', b"{} {}", b"NaN!"])
def test_what_is_not_json_is_told_from_what_is_wrong_json(value: bytes) -> None:
    assert why_not(raw_of(cancelled(), value=value)).reason == "not_json"


@pytest.mark.parametrize("value", [b"", None, b"[]", b"17", b"null", b"{}"])
def test_json_of_another_shape_is_invalid(value: bytes | None) -> None:
    assert why_not(raw_of(cancelled(), value=value)).reason == "invalid"


def test_what_is_invalid_is_named_by_field_without_its_value() -> None:
    value = (raw_of(cancelled(card_number="29000000")).value or b"").replace(b"29000000", b"Anna +79161234567")
    why = why_not(raw_of(cancelled(), value=value))
    assert why.reason == "invalid"
    assert "card_number" in why.detail
    assert "Anna" not in why.detail


def test_a_record_over_the_limit_is_not_even_parsed() -> None:
    why = why_not(raw_of(cancelled(), value=b" " * (VALUE_MAX_BYTES + 1)))
    assert why.reason == "too_large"
    assert str(VALUE_MAX_BYTES) in why.detail


@pytest.mark.parametrize("inside", [b"1", b'"\\u0000"'])
def test_json_nested_without_end_is_a_dead_letter(inside: bytes) -> None:
    depth = 100_000
    assert why_not(raw_of(cancelled(), value=b"[" * depth + inside + b"]" * depth)).reason in {"not_json", "invalid"}


@given(st.text())
def test_nul_in_a_text_is_refused_and_nothing_that_only_looks_like_it(text: str) -> None:
    raw = with_text(text)
    if "\0" in text:
        why = why_not(raw)
        assert why.reason == "invalid"
        assert "NUL" in why.detail
    else:
        understood(raw)


@pytest.mark.parametrize("looks_like", ["\\u0000", "\\\\u0000", "u0000", "\\\\\\u0000"])
def test_the_letters_of_an_escaped_nul_are_only_letters(looks_like: str) -> None:
    understood(with_text(looks_like))


@pytest.mark.parametrize("nul", ["\0", "\\\0", "\\\\\0", "\\u0000\0"])
def test_nul_behind_backslashes_is_still_nul(nul: str) -> None:
    assert "NUL" in why_not(with_text(nul)).detail


@given(st.lists(st.tuples(st.text(max_size=20), st.one_of(st.none(), st.binary(max_size=200)))).map(tuple))
def test_packed_headers_come_back_byte_for_byte(headers: Headers) -> None:
    assert unpack_headers(pack_headers(headers)) == headers


def test_a_tombstone_is_understood_by_its_key() -> None:
    erased = ContactErased(customer_id=new_id())
    heard = decode(raw_of(erased), {ContactErased.type: ContactErased}, value_max_bytes=VALUE_MAX_BYTES)
    assert heard is not None
    assert heard.raw.value is None
    assert heard.record == erased


@pytest.mark.parametrize(("key", "value"), [(b"17", None), (None, None), (b"\xff", None), (b"", None)])
def test_a_tombstone_of_no_customer_is_a_dead_letter(key: bytes | None, value: bytes | None) -> None:
    raw = raw_of(ContactErased(customer_id=new_id()), key=key, value=value)
    with pytest.raises(Unprocessable, match="key: is not"):
        decode(raw, {ContactErased.type: ContactErased}, value_max_bytes=VALUE_MAX_BYTES)


BREAD: dict[str, object] = {
    "line_no": 1,
    "product_id": "p",
    "quantity": 1,
    "amount_minor": 100,
    "total_minor": 100,
}
BOUGHT: dict[str, object] = {
    "card_number": "2900000000018",
    "receipt_id": "r1",
    "store_id": "367",
    "terminal_id": "367-04",
    "completed_at": "2025-11-02T15:04:05+03:00",
    "currency": "RUB",
    "lines": [BREAD],
    "total_minor": 100,
}


def why_not_bought(change: dict[str, object]) -> Unprocessable:
    raw = raw_of(PurchaseCompleted.model_validate(BOUGHT), value=orjson.dumps(BOUGHT | change))
    with pytest.raises(Unprocessable) as caught:
        decode(raw, {PurchaseCompleted.type: PurchaseCompleted}, value_max_bytes=VALUE_MAX_BYTES)
    return caught.value


@pytest.mark.parametrize(
    "change",
    [
        {"total_minor": -1},
        {"total_minor": 101},
        {"total_minor": 10**14},
        {"total_minor": "100.5"},
        {"discount_minor": 1},
        {"currency": "roubles"},
        {"card_number": None},
        {"card_number": "2900000000017"},
        {"completed_at": "2025-11-02T15:04:05"},
        {"lines": []},
        {"lines": [{"line_no": 1, "product_id": "p", "quantity": 0, "amount_minor": 100, "total_minor": 100}]},
        {"lines": [{"line_no": 1, "product_id": "p", "quantity": 1, "amount_minor": 90, "total_minor": 100}]},
        {"lines": [{"line_no": 1, "product_id": "p", "quantity": 1, "amount_minor": 50, "total_minor": 50}] * 2},
    ],
    ids=str,
)
def test_a_purchase_that_does_not_add_up_is_invalid(change: dict[str, object]) -> None:
    assert why_not_bought(change).reason == "invalid"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"total_minor": 101}, "value: total_minor is 101, but the lines add up to 100"),
        ({"discount_minor": 1}, "value: discount_minor is 1, but the lines' discounts add up to 0"),
        (
            {"lines": [BREAD, BREAD | {"line_no": 7, "amount_minor": 90}]},
            "value: line 7: total_minor is not amount_minor - discount_minor",
        ),
        ({"lines": [BREAD, BREAD], "total_minor": 200}, "value: lines: two lines have the same line_no"),
    ],
)
def test_a_dead_letter_says_which_sum_does_not_add_up(change: dict[str, object], detail: str) -> None:
    assert why_not_bought(change).detail == detail
