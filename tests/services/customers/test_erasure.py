from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from chassis.dead_letters import DeadLetter
from chassis.envelope import Unprocessable
from contracts.customers import Card, Contact, ContactErased, CustomerErased, CustomerRegistered
from contracts.messaging import ContactWentBad
from tests.services.customers.world import PHONE, Customers, OpenCustomers, at_once, came, link, row_of, uuid_of

PERSON = {
    "first_name": "Анжелика",
    "last_name": "Незабудкина",
    "email": "angelika@example.org",
    "birth_date": "1987-03-05",
}
CHAT = 770077007700
TRACES = [*PERSON.values(), PHONE.removeprefix("+"), str(CHAT), "незабудкина"]


async def test_an_erasure_leaves_no_trace_in_any_table(customers: Customers) -> None:
    customer = await person(customers)
    assert all([trace in await everything_kept(customers) for trace in TRACES])

    answer = await customers.http.delete(f"/customers/{customer['id']}", headers={"Idempotency-Key": "erase-1"})

    assert answer.status_code == 204
    kept = await everything_kept(customers)
    assert [trace for trace in TRACES if trace in kept] == []
    assert customer["id"] in kept


async def test_an_erasure_leaves_the_neighbours_as_they_are(customers: Customers) -> None:
    other = await customers.register("+79160000001", issue_card=True, consents=["sms"])
    await customers.hear(DeadLetter(link("+79160000001", CHAT + 1).raw, Unprocessable("failed", "by a test")))
    neighbour = await traces_of(customers, "79160000001")
    customer = await person(customers)

    await customers.http.delete(f"/customers/{customer['id']}")

    assert await traces_of(customers, "79160000001") == neighbour
    assert await customers.get(other) == other


async def test_the_last_word_about_an_erased_contact_is_a_tombstone(customers: Customers) -> None:
    customer = await person(customers)

    await customers.http.delete(f"/customers/{customer['id']}")

    (erased,) = await customers.said(CustomerErased, customer)
    assert erased.customer_id == uuid_of(customer)
    assert len(await customers.said(ContactErased, customer)) == 1
    assert await customers.said(Contact, customer) == []
    (last,) = await customers.rows(
        "SELECT value FROM outbox WHERE topic = 'customers.contacts' AND key = convert_to(:id, 'UTF8')",
        id=customer["id"],
    )
    assert last["value"] is None


async def test_the_cards_of_an_erased_customer_are_blocked(customers: Customers) -> None:
    customer = await person(customers)
    await customers.post(f"/customers/{customer['id']}/cards", {"card_number": "7005678"})
    await customers.post(f"/customers/{customer['id']}/cards/7005678/block")

    await customers.http.delete(f"/customers/{customer['id']}")

    said = [(card.card_number, card.state) for card in await customers.said(Card, customer)]
    assert said == [
        ("7001234", "active"),
        ("7005678", "active"),
        ("7005678", "blocked"),
        ("7001234", "blocked"),
    ]


async def test_an_erased_customer_is_gone(customers: Customers) -> None:
    customer = await person(customers)
    here = f"/customers/{customer['id']}"

    await customers.http.delete(here)

    answers = [
        await customers.http.get(here),
        await customers.http.patch(here, json={"first_name": "Анжелика"}),
        await customers.http.put(f"{here}/consents/sms"),
        await customers.post(f"{here}/cards", {"issue_card": True}),
        await customers.post(f"{here}/cards/7001234/unblock"),
    ]
    assert [answer.json()["type"] for answer in answers] == ["urn:kopilka:problem:customer_erased"] * 5
    assert [answer.status_code for answer in answers] == [410] * 5
    assert await customers.found(phone=PHONE) == await customers.found(card="7001234") == await customers.found() == []


async def test_an_erasure_again_says_nothing_more(customers: Customers) -> None:
    customer = await person(customers)
    await customers.http.delete(f"/customers/{customer['id']}")
    said = await customers.everything_said()

    again = await customers.http.delete(f"/customers/{customer['id']}")

    assert again.status_code == 204
    assert await customers.everything_said() == said
    assert (await customers.http.delete(f"/customers/{uuid4()}")).status_code == 404


async def test_the_proof_and_the_trail_outlive_the_erasure(customers: Customers) -> None:
    customer = await person(customers)

    await customers.http.delete(f"/customers/{customer['id']}", headers={"Kopilka-Actor": "operator:anna"})

    proof = (await customers.http.get(f"/customers/{customer['id']}/consents")).json()["items"]
    assert [(each["channel"], each["given"]) for each in proof] == [("telegram", True)]
    trail = (await customers.http.get(f"/customers/{customer['id']}/audit")).json()["items"]
    assert (trail[0]["action"], trail[0]["who"]) == ("erased", "operator:anna")
    assert trail[-1]["action"] == "registered"


async def test_who_was_erased_may_register_anew_as_somebody_new(customers: Customers) -> None:
    former = await person(customers)
    await customers.http.delete(f"/customers/{former['id']}")

    customer = await customers.register(PHONE)

    assert customer["id"] != former["id"]
    assert customer["cards"] == []


async def test_what_comes_late_about_an_erased_customer_changes_nothing(customers: Customers) -> None:
    customer = await person(customers)
    await customers.http.delete(f"/customers/{customer['id']}")
    said = await customers.everything_said()

    late = ContactWentBad.model_validate(
        {"customer_id": customer["id"], "channel": "telegram", "reason": "chat_gone", "since": "2999-01-01T00:00:00Z"}
    )
    await customers.hear(came(late))

    assert await customers.everything_said() == said


async def test_an_erasure_amid_changes_has_the_last_word(open_customers: OpenCustomers) -> None:
    tills = [open_customers(), open_customers()]
    customer = await tills[0].register()
    here = f"/customers/{customer['id']}"

    await at_once(
        [
            tills[0].http.put(f"{here}/consents/sms"),
            tills[1].http.patch(here, json={"first_name": "Анжелика"}),
            tills[0].http.delete(here),
            tills[1].http.put(f"{here}/consents/vk"),
            tills[0].http.patch(here, json={"last_name": "Незабудкина"}),
        ],
        tills[0],
        row_of(customer),
    )

    words = await tills[0].rows("SELECT value FROM outbox WHERE topic = 'customers.contacts' ORDER BY id")
    assert words[-1]["value"] is None
    kept = await everything_kept(tills[0])
    assert [trace for trace in TRACES if trace in kept] == []


async def test_a_till_that_registers_during_the_erasure_registers_somebody_new(open_customers: OpenCustomers) -> None:
    tills = [open_customers(), open_customers()]
    customer = await tills[0].register()

    _, answer = await at_once(
        [
            tills[0].http.delete(f"/customers/{customer['id']}"),
            tills[1].post("/customers", {"phone": PHONE}),
        ],
        tills[0],
        row_of(customer),
    )

    found = await tills[0].found(phone=PHONE)
    if answer.status_code == 201:
        assert found == [answer.json()["id"]]
        assert len(await tills[0].said(CustomerRegistered)) == 2
    else:
        assert found == []


async def person(customers: Customers) -> dict[str, Any]:
    """A customer with everything that the service ever keeps of one, copies in the chassis' tables included."""
    answer = await customers.post(
        "/customers", {"phone": PHONE, "card_number": "7001234", "consents": ["telegram"], **PERSON}, key=PHONE
    )
    customer = dict(answer.json())
    await customers.http.patch(
        f"/customers/{customer['id']}", json={"language": "en"}, headers={"Idempotency-Key": f"{PHONE}-language"}
    )
    await customers.hear(link(PHONE, CHAT, first_name="Анжелика"))
    await customers.hear(DeadLetter(link(PHONE, 1, first_name="Анжелика").raw, Unprocessable("failed", "by a test")))
    await customers.hear(DeadLetter(link("+79168887766", CHAT).raw, Unprocessable("failed", "by a test")))
    return customer


async def everything_kept(customers: Customers) -> str:
    return "\n".join([row async for row in _rows(customers)])


async def traces_of(customers: Customers, trace: str) -> list[str]:
    """The rows of all tables that have it."""
    return [row async for row in _rows(customers) if trace in row]


async def _rows(customers: Customers) -> Any:
    """Every row of every table as text, bytes read as the text that they are."""
    tables = await customers.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    async with customers.database.engine.connect() as connection:
        for table in tables:
            name = str(table["table_name"])
            for row in (await connection.execute(sa.text(f'SELECT * FROM "{name}"'))).mappings():
                yield " ".join([name, *_texts(row.values())])


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        yield value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
