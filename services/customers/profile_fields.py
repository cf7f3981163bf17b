"""What may be written into a customer's profile, and how it is tidied up before it is kept."""

import re
import unicodedata
import zoneinfo
from datetime import date, datetime
from typing import Annotated, Final

import phonenumbers
from pydantic import AfterValidator, Field, StringConstraints

from chassis.field_faults import N_, Fault
from chassis.problems import Problem

NAME_MAX_CHARS: Final = 100
BORN_AFTER: Final = date(1900, 1, 1)
TYPED_PHONE: Final = re.compile(r"\+[0-9 ().-]{6,31}")
EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
NOT_OF_A_NAME: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Controls, line ends, and the marks that turn the direction of the text around it."""


def typed_phone(text: str) -> str:
    """`+7 (916) 123-45-67` -> `+79161234567`. Raises ValueError where no such number can exist."""
    try:
        number = phonenumbers.parse(text, None) if TYPED_PHONE.fullmatch(text.strip()) else None
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_valid_number(number):
        raise ValueError(N_("must be a telephone number that exists, with its country code, such as +7 916 123-45-67"))
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def sought_phone(text: str) -> str:
    """The E.164 form to look a phone up by: whether it exists is seen when it is found.

    The plus may be missing, for in a URL it is easily sent as a space.
    """
    return "+" + "".join(re.findall(r"[0-9]", text))


def tidy_name(text: str | None) -> str | None:
    """One line, single spaces, composed characters; None where nothing is left."""
    if text is None:
        return None
    line = " ".join(NOT_OF_A_NAME.sub(" ", unicodedata.normalize("NFC", text)).split())
    return line[:NAME_MAX_CHARS] or None


def written_email(text: str | None) -> str | None:
    """An address as people write it; whether it is read shows when something is sent there."""
    if text is None or EMAIL.fullmatch(text):
        return text
    raise ValueError(N_("must be an e-mail address, such as anna@example.org"))


def known_time_zone(name: str) -> str:
    """A name of the IANA time zone database."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(N_("must be an IANA time zone, such as Europe/Moscow")) from None
    return name


def refuse_unborn(birth_date: date | None, now: datetime) -> None:
    """Raises `Problem` 422 for a birth date that has not come yet."""
    if birth_date is not None and birth_date > now.date():
        raise Problem(
            422,
            "invalid_request",
            "The request has values that cannot be taken; `errors` names each field and how to mend it.",
            faults=[Fault("birth_date", "must be in the past")],
        )


TypedPhone = Annotated[
    str,
    StringConstraints(max_length=32),
    AfterValidator(typed_phone),
    Field(description="Telephone number with its country code; kept as E.164.", examples=["+79161234567"]),
]
PersonName = Annotated[
    Annotated[str, StringConstraints(max_length=NAME_MAX_CHARS)] | None,
    AfterValidator(tidy_name),
    Field(examples=["Анна"]),
]
BirthDate = Annotated[Annotated[date, Field(ge=BORN_AFTER)] | None, Field(examples=["1990-04-12"])]
Email = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, max_length=254)] | None,
    AfterValidator(written_email),
    Field(examples=["anna@example.org"]),
]
TimeZone = Annotated[
    str,
    StringConstraints(max_length=64),
    AfterValidator(known_time_zone),
    Field(description="IANA time zone: quiet hours and birthdays are computed in it.", examples=["Europe/Moscow"]),
]
