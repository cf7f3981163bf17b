"""What is wrong with a field of a request and how to mend it, without the value, which may be personal."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

FIELD_MAX_CHARS: Final = 200
FAULTS_MAX: Final = 50
QUOTE_MIN_CHARS: Final = 3
PLACES: Final = ("body", "query", "path", "header", "cookie")


def N_(text: str) -> str:  # noqa: N802 (the name that gettext gave it)
    """Marks an English text for the catalogue; it is translated where it is shown."""
    return text


class Fault(NamedTuple):
    """`detail` is an English text of the catalogue; `values` fill its {names}."""

    field: str
    detail: str
    values: Mapping[str, object] = {}


UNNAMED: Final = N_("this value cannot be taken here")
NOT_JSON: Final = N_("is not valid JSON (at character {position})")
TEXTS: Final = {
    "missing": N_("is needed"),
    "extra_forbidden": N_("is not known here; leave it out"),
    "json_invalid": N_("is not valid JSON"),
    "model_type": N_("must be an object"),
    "model_attributes_type": N_("must be an object"),
    "dataclass_type": N_("must be an object"),
    "dict_type": N_("must be an object"),
    "list_type": N_("must be an array"),
    "tuple_type": N_("must be an array"),
    "set_type": N_("must be an array"),
    "none_required": N_("must be null"),
    "bool_type": N_("must be true or false"),
    "bool_parsing": N_("must be true or false"),
    "int_type": N_("must be a whole number"),
    "int_parsing": N_("must be a whole number"),
    "int_parsing_size": N_("must be a whole number that is not so large"),
    "int_from_float": N_("must be a whole number, without a fraction"),
    "float_type": N_("must be a number"),
    "float_parsing": N_("must be a number"),
    "finite_number": N_("must be a finite number"),
    "decimal_type": N_("must be a number, or a number in quotes"),
    "decimal_parsing": N_("must be a number"),
    "decimal_max_digits": N_("must have at most {max_digits} digits"),
    "decimal_max_places": N_("must have at most {decimal_places} digits after the point"),
    "decimal_whole_digits": N_("must have at most {whole_digits} digits before the point"),
    "greater_than": N_("must be greater than {gt}"),
    "greater_than_equal": N_("must be {ge} or more"),
    "less_than": N_("must be less than {lt}"),
    "less_than_equal": N_("must be {le} or less"),
    "multiple_of": N_("must be a multiple of {multiple_of}"),
    "string_type": N_("must be a string"),
    "string_unicode": N_("must be valid Unicode text"),
    "string_too_short": N_("is too short; characters at least: {min_length}"),
    "string_too_long": N_("is too long; characters at most: {max_length}"),
    "string_pattern_mismatch": N_("must match the pattern {pattern}"),
    "too_short": N_("has too few items; at least: {min_length}"),
    "too_long": N_("has too many items; at most: {max_length}"),
    "enum": N_("must be one of: {expected}"),
    "literal_error": N_("must be one of: {expected}"),
    "union_tag_invalid": N_("{discriminator} must be one of: {expected_tags}"),
    "union_tag_not_found": N_("{discriminator} is needed"),
    "uuid_type": N_("must be a UUID"),
    "uuid_parsing": N_("must be a UUID"),
    "uuid_version": N_("must be a UUID of version {expected_version}"),
    "date_type": N_("must be a date, YYYY-MM-DD"),
    "date_parsing": N_("must be a date, YYYY-MM-DD"),
    "date_from_datetime_parsing": N_("must be a date, YYYY-MM-DD"),
    "date_from_datetime_inexact": N_("must be a date, without a time"),
    "date_past": N_("must be in the past"),
    "date_future": N_("must be in the future"),
    "datetime_type": N_("must be a time as in RFC 3339, such as 2025-11-02T15:04:05+03:00"),
    "datetime_parsing": N_("must be a time as in RFC 3339, such as 2025-11-02T15:04:05+03:00"),
    "datetime_from_date_parsing": N_("must be a time as in RFC 3339, such as 2025-11-02T15:04:05+03:00"),
    "datetime_past": N_("must be in the past"),
    "datetime_future": N_("must be in the future"),
    "timezone_aware": N_("must have an offset from UTC, such as Z or +03:00"),
    "time_type": N_("must be a time of day, HH:MM"),
    "time_parsing": N_("must be a time of day, HH:MM"),
    "url_type": N_("must be a URL"),
    "url_parsing": N_("must be a URL"),
    "url_scheme": N_("must be a URL with one of: {expected_schemes}"),
    "url_too_long": N_("is too long; characters at most: {max_length}"),
}
"""Our own words for pydantic's error types: its own are English only, and some quote what was sent."""
OF_CONTRACTS: Final = {
    "quantity": N_("must be a decimal above zero in quotes, with at most three digits after the point"),
    "line_total": N_("must be amount_minor - discount_minor: {sum}"),
    "line_no": N_("two lines have the same line_no; give each line its own"),
    "total": N_("must be what the lines' total_minor add up to: {sum}"),
    "discount": N_("must be what the lines' discount_minor add up to: {sum}"),
}
"""The same for the error types that the contracts add (`contracts/fields.py`, `contracts/purchases.py`)."""


def faults_of(errors: Sequence[Mapping[str, Any]]) -> list[Fault]:
    """The faults in pydantic's `errors()`."""
    return [_fault(error) for error in errors[:FAULTS_MAX]]


def field_name(location: Sequence[str | int]) -> str:
    """`("body", "lines", 0, "total_minor")` -> `lines[0].total_minor`; the whole body is `body`."""
    place, *path = location or ("body",)
    if place not in PLACES:
        path = [place, *path]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return (name or str(place))[:FIELD_MAX_CHARS]


def nul_in(value: object) -> Sequence[str | int] | None:
    """Where a JSON value has a string with U+0000, which PostgreSQL cannot keep; None where it has none."""
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), value)]
    while waiting:
        location, each = waiting.pop()
        if isinstance(each, str) and "\0" in each:
            return location
        if isinstance(each, dict):
            if any("\0" in name for name in each):
                return location
            waiting.extend(((*location, name), part) for name, part in each.items())
        elif isinstance(each, list):
            waiting.extend(((*location, place), part) for place, part in enumerate(each))
    return None


def _fault(error: Mapping[str, Any]) -> Fault:
    """A validator of a whole model names the field by `at` in its context: the way to it from the model."""
    context: Mapping[str, Any] = error.get("ctx") or {}
    location = (*error["loc"], *context.get("at", ()))
    values = {name: _without_or(value) for name, value in context.items()}
    if error["type"] == "json_invalid" and location[0] == "body" and isinstance(location[-1], int):
        return Fault("body", NOT_JSON, {"position": location[-1]})
    detail = TEXTS.get(error["type"]) or OF_CONTRACTS.get(error["type"])
    if detail is None:
        return Fault(field_name(location), _validators_own_words(error, values))
    return Fault(field_name(location), detail, values)


def _without_or(value: object) -> object:
    """pydantic lists what it expects as `'a', 'b' or 'c'`, in English alone."""
    return value.replace("' or '", "', '") if isinstance(value, str) else value


def _validators_own_words(error: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """What one of our validators said (a ValueError), unless it quotes what was sent."""
    if error["type"] not in ("value_error", "assertion_error"):
        return UNNAMED
    text = str(values.get("error", ""))
    sent = error.get("input")
    quotes = isinstance(sent, str | int | float) and len(str(sent)) >= QUOTE_MIN_CHARS and str(sent) in text
    return UNNAMED if quotes or not text else text
