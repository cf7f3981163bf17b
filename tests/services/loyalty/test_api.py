"""The HTTP API tells what is in the ledger."""

import httpx
import pytest

from tests.services.loyalty.world import Loyalty, came_back, card, purchase


async def test_a_customers_balance_operations_and_receipts_can_be_seen(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = card()
    customer_id = await loyalty.knows(number)
    bought = purchase(number, 100_000, 14_000)
    await loyalty.hear(bought)
    await loyalty.hear(came_back(bought, {2: 14_000}))
    (account,) = (await api.get(f"/customers/{customer_id}/balance")).json()["accounts"]
    assert (account["available"], account["level"], account["spent_minor"]) == (50, "base", 100_000)
    operations = (await api.get(f"/customers/{customer_id}/operations")).json()["items"]
    assert [(each["type"], each["points"]) for each in operations] == [("return", -7), ("purchase", 57)]
    receipt = (await api.get(f"/purchases/{bought.receipt_id}")).json()
    assert receipt["state"] == "partly_returned"
    assert [line["points"] for line in receipt["lines"]] == [50, 7]
    assert [each["points"] for each in receipt["returns"]] == [7]


async def test_what_waits_is_shown_without_phones(loyalty: Loyalty, api: httpx.AsyncClient) -> None:
    await loyalty.hear(purchase(None, 2_000, phone="+79161234567"))
    (waiting,) = (await api.get("/waiting")).json()["items"]
    assert waiting["awaits"] == "phone:…4567"


@pytest.mark.parametrize("path", ["/customers/019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e11/balance", "/purchases/none"])
async def test_what_nobody_knows_is_a_problem_that_names_the_field(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(path)
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["field"] in ("customer_id", "receipt_id")


async def test_the_reconciliation_of_a_right_ledger_has_no_differences(
    loyalty: Loyalty, api: httpx.AsyncClient
) -> None:
    number = card()
    await loyalty.knows(number)
    await loyalty.hear(purchase(number, 2_000))
    assert (await api.get("/reconciliation")).json() == {"operations": 1, "differences": []}


async def test_the_terms_say_five_per_cent_at_first(api: httpx.AsyncClient) -> None:
    (terms,) = (await api.get("/terms")).json()
    assert terms["levels"][0]["rate_basis_points"] == 500
