"""Whose chat it is: asked for by the person, decided by customers, told to everybody."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from chassis.ids import new_id
from contracts.customers import LinkTelegram, UnlinkTelegram
from contracts.feedback import AppealOpened, TelegramLinked, TelegramUnlinked
from contracts.loyalty import Balance, CurrencyBalance
from tests.services.feedback.world import Feedback, OpenFeedback, balance, contact, link_of
from tests.telegram_sandbox import RunningSandbox


async def test_start_greets_in_the_language_of_the_app_and_offers_to_share_the_number(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person("Анна", language_code="ru")
    oliver = await sandbox.person("Oliver", phone="+12025550123", language_code="en")
    async with feedback.polling():
        await anna.writes("/start")
        await oliver.writes("/start from-a-poster")
        await anna.hears("Я бот программы лояльности")
        await oliver.hears("I am the bot of the loyalty programme")
    button = (await anna.chat())["keyboard"]["keyboard"][0][0]
    assert (button["text"], button["request_contact"]) == ("Поделиться номером", True)
    assert await feedback.kinds_said() == []


async def test_who_shares_their_own_contact_is_linked_and_told_so_with_the_balance(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person("Анна", phone="+79161234567")
    customer_id = new_id()
    await feedback.hears(balance(customer_id, 204))
    async with feedback.polling():
        await anna.writes("/start")
        await anna.shares_contact()
        await anna.hears("Ищу вашу карту")
        command = link_of(anna, await feedback.until_said(LinkTelegram))
        assert command == LinkTelegram(
            phone="+79161234567", telegram_chat_id=anna.id, first_name="Анна", last_name=None, language="ru"
        )
        await feedback.hears(contact(customer_id, anna.id))
        await anna.hears("Готово: чат привязан к вашей карте. У вас 204 балла.")
    assert (await anna.chat())["keyboard"] is None
    assert [event.customer_id for event in await feedback.said(TelegramLinked)] == [customer_id]


async def test_a_contact_of_somebody_else_links_nothing(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    oleg = await sandbox.person("Олег", phone="+79990001122")
    async with feedback.polling():
        await anna.writes("/start")
        await anna.shares_contact(phone=oleg.phone, user_id=oleg.id)
        await anna.hears("Это чужой номер")
        await anna.shares_contact(phone=oleg.phone)
        await feedback.until_all_is_handled()
    assert [text.startswith("Это чужой номер") for text in anna.heard()] == [False, True, True]
    assert await feedback.said(LinkTelegram) == []


async def test_a_number_that_is_none_is_told_and_links_nothing(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    async with feedback.polling():
        await anna.writes("/start")
        await anna.shares_contact(phone="123", user_id=anna.id)
        await anna.hears("Этот номер привязать не получится")
    assert await feedback.said(LinkTelegram) == []


async def test_the_balance_is_told_to_those_who_are_linked_and_newer_ones_stay(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    oliver = await sandbox.person("Oliver", phone="+12025550123", language_code="en")
    customer_id = await feedback.linked(anna)
    newer, older = datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    await feedback.hears(balance(customer_id, 1201, as_of=newer, miles=7))
    await feedback.hears(balance(customer_id, 3, as_of=older))
    async with feedback.polling():
        await anna.writes("/balance")
        await anna.hears("У вас 1\N{NO-BREAK SPACE}201 балл, 7 (miles).")
        await oliver.writes("/balance")
        await oliver.hears("I do not know your card yet")


@pytest.mark.parametrize(
    ("language_code", "available", "text"),
    [
        ("ru", (450, 0), "У вас 4,5 балла."),
        ("ru", (450, 50), "У вас 5 баллов."),
        ("ru", (100, 0), "У вас 1 балл."),
        ("en", (100, 5), "You have 1.05 points."),
        ("en", (100, 0), "You have 1 point."),
    ],
)
async def test_points_of_a_currency_with_a_scale_are_told_in_whole_ones(
    feedback: Feedback, sandbox: RunningSandbox, language_code: str, available: tuple[int, int], text: str
) -> None:
    anna = await sandbox.person(language_code=language_code)
    customer_id = await feedback.linked(anna)
    of_points = [CurrencyBalance(points_currency="points", points_scale=2, available=each) for each in available]
    await feedback.hears(Balance(customer_id=customer_id, balances=of_points, as_of=datetime.now(UTC)))
    async with feedback.polling():
        await anna.writes("/balance")
        await anna.hears(text)


async def test_nobody_is_told_twice_that_they_are_linked_and_nobody_who_did_not_ask(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    oleg = await sandbox.person("Олег", phone="+79990001122")
    async with feedback.polling():
        for person in (anna, oleg):
            await person.writes("/start")
        await anna.shares_contact()
        await feedback.until_said(LinkTelegram)
        customer_id, other_id = new_id(), new_id()
        for _ in range(2):
            await feedback.hears(contact(customer_id, anna.id), contact(other_id, oleg.id))
        await anna.hears("Готово")
        await feedback.until_all_is_handled()
    assert sum("Готово" in text for text in anna.heard()) == 1
    assert sum("Готово" in text for text in oleg.heard()) == 0
    assert {event.customer_id for event in await feedback.said(TelegramLinked)} == {customer_id, other_id}
    assert len(await feedback.said(TelegramLinked)) == 2


@pytest.mark.parametrize("first", ["the former owner", "the new owner"])
async def test_a_chat_that_customers_moves_is_the_new_owners_whichever_contact_comes_first(
    feedback: Feedback, sandbox: RunningSandbox, first: str
) -> None:
    anna = await sandbox.person()
    former, new = await feedback.linked(anna), new_id()
    await feedback.hears(balance(former, 1), balance(new, 2))
    states = [contact(former, None), contact(new, anna.id)]
    for state in states if first == "the former owner" else reversed(states):
        await feedback.hears(state)
    async with feedback.polling():
        await anna.writes("/balance")
        await anna.hears("У вас 2 балла.")
    assert [event.customer_id for event in await feedback.said(TelegramLinked)] == [former, new]
    assert [event.customer_id for event in await feedback.said(TelegramUnlinked)] == [former]


async def test_a_late_word_of_the_former_owner_does_not_take_the_chat_back(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    former, new = new_id(), new_id()
    now = datetime.now(UTC)
    await feedback.hears(contact(new, anna.id), time=now)
    await feedback.hears(contact(former, anna.id), time=now - timedelta(seconds=5))
    await feedback.hears(balance(former, 1), balance(new, 2))
    async with feedback.polling():
        await anna.writes("/balance")
        await anna.hears("У вас 2 балла.")


async def test_a_contact_from_before_that_was_put_back_late_changes_nothing(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    customer_id = await feedback.linked(anna)
    await feedback.hears(contact(customer_id, None), time=datetime.now(UTC) - timedelta(hours=1))
    assert await feedback.value("SELECT chat_id FROM customers") == anna.id
    assert await feedback.said(TelegramUnlinked) == []


async def test_who_is_unlinked_by_customers_is_told(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    async with feedback.polling():
        await anna.writes("/start")
        await anna.hears("Я бот")
        customer_id = await feedback.linked(anna)
        await feedback.hears(contact(customer_id, None))
        await anna.hears("Этот чат больше не привязан к карте")
    assert await feedback.kinds_said() == ["TelegramLinked", "TelegramUnlinked"]


async def test_stop_unlinks_at_once_and_until_the_contact_is_shared_again(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    customer_id = await feedback.linked(anna)
    async with feedback.polling():
        await anna.writes("/stop")
        await anna.hears("Чат отвязан")
        assert await feedback.said(UnlinkTelegram) == [
            UnlinkTelegram(customer_id=customer_id, telegram_chat_id=anna.id)
        ]
        await feedback.hears(contact(customer_id, anna.id))
        await anna.writes("/balance")
        await anna.hears("Я ещё не знаю вашей карты")
        await anna.shares_contact()
        await feedback.until_said(LinkTelegram)
        await feedback.hears(contact(customer_id, anna.id))
        await anna.hears("Готово")
        await anna.writes("/stop")
        await feedback.until_said(UnlinkTelegram, 2)
        await anna.hears(lambda text: text.startswith("Чат отвязан"))
        await feedback.hears(contact(customer_id, None))
        await anna.writes("/stop")
        await anna.hears("Этот чат не привязан к карте.")
    assert await feedback.kinds_said() == [
        "TelegramLinked",
        *("TelegramUnlinked", "UnlinkTelegram", "LinkTelegram"),
        "TelegramLinked",
        *("TelegramUnlinked", "UnlinkTelegram"),
    ]


async def test_an_appeal_from_before_the_link_is_announced_when_the_chat_is_somebodys(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    async with feedback.polling():
        await anna.writes("My card is lost")
        await anna.hears("Ваше обращение № 1 принято")
    assert await feedback.said(AppealOpened) == []
    customer_id = await feedback.linked(anna)
    ((appeal_id, owner),) = await feedback.rows("SELECT id, customer_id FROM appeals")
    assert owner == customer_id
    assert [(event.appeal_id, event.customer_id) for event in await feedback.said(AppealOpened)] == [
        (appeal_id, customer_id)
    ]


async def test_two_workers_that_hear_of_one_chat_at_once_do_not_stand_in_each_others_way(
    open_feedback: OpenFeedback, sandbox: RunningSandbox
) -> None:
    one, other = open_feedback(), open_feedback()
    people = [await sandbox.person(phone=f"+7916000{number:04}") for number in range(20)]
    mine, theirs = [new_id() for _ in people], [new_id() for _ in people]
    await asyncio.gather(
        one.hears(*(contact(customer_id, person.id) for customer_id, person in zip(mine, people, strict=True))),
        other.hears(
            *(
                contact(customer_id, person.id)
                for customer_id, person in reversed(list(zip(theirs, people, strict=True)))
            )
        ),
    )
    assert await one.value("SELECT count(*) FROM customers WHERE chat_id IS NOT NULL") == 40
