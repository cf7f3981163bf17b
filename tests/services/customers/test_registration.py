import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from contracts.customers import Card, ConsentGiven, Contact, CustomerRegistered
from contracts.fields import ean13_check_digit
from tests.services.customers.world import (
    EVERY_CUSTOMER,
    PHONE,
    Customers,
    OpenCustomers,
    at_once,
    fields_at_fault,
    link,
)


async def test_a_till_registers_a_customer_with_all_that_it_knows(customers: Customers) -> None:
    registered = await customers.register(
        first_name=" Анна \n Мария ",
        last_name="Ёлкина",
        birth_date="1990-04-12",
        email="anna@example.org",
        language="en",
        time_zone="Asia/Novosibirsk",
        consents=["telegram", "sms", "sms"],
        card_number="2900000000018",
    )

    assert registered["first_name"] == "Анна Мария"
    assert registered["birth_date"] == "1990-04-12"
    assert [each["channel"] for each in registered["consents"]] == ["sms", "telegram"]
    assert registered["cards"] == [{"number": "2900000000018", "state": "active", "replaced_by": None}]
    assert registered["source"] == "till"
    assert await customers.get(registered) == registered


async def test_what_is_registered_is_said(customers: Customers) -> None:
    registered = await customers.register(first_name="Анна", consents=["sms"], issue_card=True)

    (event,) = await customers.said(CustomerRegistered, registered)
    assert event.source == "till"
    (contact,) = await customers.said(Contact, registered)
    assert (contact.phone, contact.first_name, contact.consents[0].channel) == (PHONE, "Анна", "sms")
    (card,) = await customers.said(Card, registered)
    assert (card.card_number, card.state) == (registered["cards"][0]["number"], "active")
    assert [each.channel for each in await customers.said(ConsentGiven, registered)] == ["sms"]


async def test_the_same_phone_again_is_the_same_customer_and_says_nothing(customers: Customers) -> None:
    first = await customers.register(first_name="Анна", issue_card=True)
    said = await customers.everything_said()

    again = await customers.post(
        "/customers", {"phone": "+7 (916) 123-45-67", "first_name": "Не Анна", "consents": ["sms"], "issue_card": True}
    )

    assert again.status_code == 200
    assert again.json() == first
    assert await customers.everything_said() == said


async def test_the_same_request_again_gets_the_first_answer(customers: Customers) -> None:
    first = await customers.post("/customers", {"phone": PHONE, "issue_card": True}, key="till-1-42")
    again = await customers.post("/customers", {"phone": PHONE, "issue_card": True}, key="till-1-42")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()


async def test_many_tills_with_one_phone_at_the_same_moment_make_one_customer(open_customers: OpenCustomers) -> None:
    tills = [open_customers() for _ in range(2)]
    calls = [tills[each % 2].post("/customers", {"phone": PHONE, "first_name": f"Till {each}"}) for each in range(8)]

    answers = await at_once(calls, tills[0], EVERY_CUSTOMER)

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.text for answer in answers}) == 1
    assert len(await tills[0].said(CustomerRegistered)) == len(await tills[0].said(Contact)) == 1


async def test_a_till_and_the_bot_with_one_phone_at_the_same_moment_make_one_customer(
    open_customers: OpenCustomers,
) -> None:
    till, bot = open_customers(), open_customers()

    answer, _ = await at_once(
        [till.post("/customers", {"phone": PHONE}), bot.hear(link(PHONE, 100500))],
        till,
        EVERY_CUSTOMER,
    )

    assert answer.status_code in (200, 201)
    (registered,) = await till.said(CustomerRegistered)
    assert (await till.contact({"id": str(registered.customer_id)})).telegram_chat_id == 100500


async def test_the_database_itself_keeps_a_phone_to_one_customer(customers: Customers) -> None:
    await customers.register()
    copy = """
    INSERT INTO customers (id, phone, language, time_zone, source, registered_at)
    SELECT gen_random_uuid(), phone, language, time_zone, source, registered_at FROM customers
    """

    with pytest.raises(IntegrityError, match="customers_phone_key"):
        async with customers.database.engine.begin() as connection:
            await connection.execute(sa.text(copy))


async def test_a_customer_who_was_there_gets_the_card_in_their_hand(customers: Customers) -> None:
    first = await customers.register()

    again = await customers.post("/customers", {"phone": PHONE, "card_number": "7001234"})
    once_more = await customers.post("/customers", {"phone": PHONE, "card_number": "7001234"})

    assert again.status_code == once_more.status_code == 200
    card = {"number": "7001234", "state": "active", "replaced_by": None}
    assert again.json()["cards"] == once_more.json()["cards"] == [card]
    assert [card.card_number for card in await customers.said(Card, first)] == ["7001234"]


async def test_who_takes_somebody_elses_card_is_not_registered(customers: Customers) -> None:
    await customers.register("+79160000001", card_number="7001234")

    refused = await customers.post("/customers", {"phone": PHONE, "card_number": "7001234"})

    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:kopilka:problem:card_taken"
    assert await customers.found(phone=PHONE) == []


async def test_two_tills_with_one_card_at_the_same_moment_give_it_to_one_customer(
    open_customers: OpenCustomers,
) -> None:
    till = open_customers()
    calls = [
        till.post("/customers", {"phone": phone, "card_number": "7001234"})
        for phone in ("+79160000001", "+79160000002", "+79160000003")
    ]

    answers = await at_once(calls, till, EVERY_CUSTOMER)

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    assert len(await till.said(Card)) == len(await till.said(CustomerRegistered)) == 1


async def test_an_issued_card_is_an_ean13_of_our_own_range(customers: Customers) -> None:
    (card,) = (await customers.register(issue_card=True))["cards"]

    assert card["number"].startswith("29")
    assert len(card["number"]) == 13
    assert card["number"][12] == ean13_check_digit(card["number"][:12])


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ({}, ["phone"]),
        ({"phone": "89161234567"}, ["phone"]),
        ({"phone": "+7916123456"}, ["phone"]),
        ({"phone": "+70001234567"}, ["phone"]),
        ({"phone": "+7916FLOWERS"}, ["phone"]),
        ({"phone": PHONE, "firstname": "Анна"}, ["firstname"]),
        ({"phone": PHONE, "first_name": "А" * 101, "email": "anna@"}, ["first_name", "email"]),
        ({"phone": PHONE, "birth_date": "1890-01-01"}, ["birth_date"]),
        ({"phone": PHONE, "birth_date": "2999-01-01"}, ["birth_date"]),
        ({"phone": PHONE, "time_zone": "Moscow"}, ["time_zone"]),
        ({"phone": PHONE, "time_zone": "../../etc/passwd"}, ["time_zone"]),
        ({"phone": PHONE, "language": "de"}, ["language"]),
        ({"phone": PHONE, "consents": ["pigeon"]}, ["consents[0]"]),
        ({"phone": PHONE, "card_number": "2900000000019"}, ["card_number"]),
        ({"phone": PHONE, "card_number": "2900000000018", "issue_card": True}, ["issue_card"]),
    ],
)
async def test_what_cannot_be_taken_is_named(customers: Customers, form: dict[str, object], fields: list[str]) -> None:
    refused = await customers.post("/customers", form)

    assert fields_at_fault(refused) == fields
    assert await customers.found() == []


async def test_a_problem_is_told_in_the_language_of_the_caller(customers: Customers) -> None:
    refused = await customers.post("/customers", {"phone": "8916"}, **{"Accept-Language": "ru-RU"})

    (fault,) = refused.json()["errors"]
    assert fault["detail"].startswith("укажите существующий номер телефона")


async def test_an_actor_of_no_known_kind_is_refused(customers: Customers) -> None:
    refused = await customers.post("/customers", {"phone": PHONE}, **{"Kopilka-Actor": "burglar:bob"})

    assert fields_at_fault(refused) == ["kopilka-actor"]


async def test_who_names_no_language_and_zone_gets_those_of_the_chain(customers: Customers) -> None:
    registered = await customers.register()

    assert (registered["language"], registered["time_zone"]) == ("ru", "Europe/Moscow")
