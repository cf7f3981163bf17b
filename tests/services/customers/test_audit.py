from typing import Any

from contracts.messaging import ContactWentBad
from tests.services.customers.world import PHONE, Customers, came, link


async def trail(customers: Customers, customer: dict[str, Any], **parameters: str) -> list[tuple[str, str, list[str]]]:
    answer = await customers.http.get(f"/customers/{customer['id']}/audit", params=parameters)
    return [(line["action"], line["who"], line["what"]) for line in answer.json()["items"]]


async def test_everything_done_to_a_customer_is_on_the_trail_with_who_did_it(customers: Customers) -> None:
    registered = await customers.post(
        "/customers",
        {"phone": PHONE, "first_name": "Анна", "consents": ["sms"], "card_number": "7001234"},
        **{"Kopilka-Actor": "till:367-04"},
    )
    customer = registered.json()
    here = f"/customers/{customer['id']}"
    operator = {"Kopilka-Actor": "operator:anna"}
    await customers.http.patch(here, json={"last_name": "Ёлкина", "language": "en"}, headers=operator)
    await customers.http.delete(f"{here}/consents/sms", headers=operator)
    await customers.post(f"{here}/cards/7001234/block")
    await customers.hear(link(PHONE, 100500))
    bad = {"customer_id": customer["id"], "channel": "telegram", "reason": "bot_blocked"}
    await customers.hear(came(ContactWentBad.model_validate({**bad, "since": "2999-01-01T00:00:00Z"})))

    assert await trail(customers, customer) == [
        ("changed", "messaging", ["unreachable"]),
        ("changed", "bot", ["telegram_chat_id"]),
        ("card_blocked", "till", ["7001234"]),
        ("consent_withdrawn", "operator:anna", ["sms"]),
        ("changed", "operator:anna", ["last_name", "language"]),
        ("card_added", "till:367-04", ["7001234"]),
        ("consent_given", "till:367-04", ["sms"]),
        ("registered", "till:367-04", ["phone", "first_name", "language", "time_zone"]),
    ]


async def test_what_was_not_done_is_not_on_the_trail(customers: Customers) -> None:
    customer = await customers.register()

    await customers.post("/customers", {"phone": PHONE, "first_name": "Анна"})
    await customers.http.delete(f"/customers/{customer['id']}/consents/sms")

    assert [action for action, _, _ in await trail(customers, customer)] == ["registered"]


async def test_the_trail_is_paged_newest_first(customers: Customers) -> None:
    customer = await customers.register()
    for channel in ("sms", "vk"):
        await customers.http.put(f"/customers/{customer['id']}/consents/{channel}")

    assert await trail(customers, customer, limit="1") == [("consent_given", "till", ["vk"])]


async def test_nobody_has_no_trail(customers: Customers) -> None:
    answer = await customers.http.get("/customers/019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e11/audit")

    assert answer.json()["type"] == "urn:kopilka:problem:customer_not_found"
