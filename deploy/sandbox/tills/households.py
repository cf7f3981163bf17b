"""Who the households are: invented people, each household always the same one. Nobody real has these numbers."""

from dataclasses import dataclass
from random import Random
from typing import Final

from contracts.fields import Language, ean13_check_digit

CARD_PREFIX: Final = "29"
"""GS1 prefixes 20 to 29 are for numbers within a company."""
US_AREAS: Final = (
    *(201, 202, 206, 212, 213, 214, 215, 303, 305, 312, 313, 314, 404, 408, 412, 415, 503, 512, 602, 612),
    *(614, 617, 619, 702, 713, 718, 813, 816, 901, 916),
)
US_SHARE: Final = 0.3


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN: Final = _names(
    "Анна Мария Елена Ольга Наталья Ирина Татьяна Светлана Екатерина Дарья Юлия Полина Вера Алина Ксения"
)
MEN: Final = _names(
    "Александр Дмитрий Сергей Андрей Алексей Максим Иван Михаил Николай Павел Роман Олег Виктор Егор Кирилл"
)
FAMILIES: Final = _names(
    "Иванов Смирнов Кузнецов Попов Васильев Петров Соколов Михайлов Новиков Фёдоров Морозов Волков Алексеев "
    "Лебедев Семёнов Егоров Павлов Козлов Степанов Николаев Орлов Андреев Макаров Никитин Захаров"
)
FIRST_NAMES: Final = _names(
    "James Mary Robert Linda John Susan Michael Karen David Nancy William Lisa Thomas Sarah Daniel Emily Paul Laura"
)
LAST_NAMES: Final = _names(
    "Smith Johnson Brown Miller Davis Wilson Moore Taylor Anderson Harris Martin Clark Lewis Walker Hall Young King"
)


@dataclass(frozen=True, slots=True)
class Person:
    """Who holds the household's card."""

    phone: str
    first_name: str
    last_name: str
    language: Language
    time_zone: str


def card_number(household: int) -> str:
    """The household's card, an EAN-13 number."""
    twelve = f"{CARD_PREFIX}{household:010}"
    return twelve + ean13_check_digit(twelve)


def person(household: int) -> Person:
    """The person of the household (1 to 2,999): seven in ten write Russian, the others English."""
    chance = Random(f"household {household}")  # noqa: S311
    if chance.random() < US_SHARE:
        return _american(household, chance)
    is_woman = chance.random() < 0.5
    return Person(
        phone=f"+7999555{household:04}",
        first_name=chance.choice(WOMEN if is_woman else MEN),
        last_name=chance.choice(FAMILIES) + ("а" if is_woman else ""),
        language="ru",
        time_zone="Europe/Moscow",
    )


def _american(household: int, chance: Random) -> Person:
    """555-0100 to 555-0199 of every area are kept for invented people."""
    area = US_AREAS[household // 100]
    return Person(
        phone=f"+1{area}55501{household % 100:02}",
        first_name=chance.choice(FIRST_NAMES),
        last_name=chance.choice(LAST_NAMES),
        language="en",
        time_zone="America/New_York",
    )


def is_chosen(household: int, share: float) -> bool:
    """Whether the household is among the given share of all; one that is, is so at every larger share too."""
    return Random(f"chosen {household}").random() < share  # noqa: S311
