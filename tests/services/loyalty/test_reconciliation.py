"""The proof of the ledger finds each kind of damage."""

import pytest

from tests.services.loyalty.world import Loyalty, came_back, card, purchase

DAMAGES = {
    "entries_of_an_operation_sum_to_zero": "UPDATE entries SET amount = amount + 1 WHERE balance_after IS NULL",
    "every_operation_has_its_two_entries": "DELETE FROM entries WHERE balance_after IS NULL",
    "every_entry_belongs_to_an_operation": "DELETE FROM operations",
    "entries_of_an_account_sum_to_its_balance": "UPDATE accounts SET balance = balance + 1",
    "lots_of_an_account_sum_to_its_balance": "UPDATE lots SET remaining = remaining - 1",
    "every_purchase_has_one_operation_of_its_points": "UPDATE purchases SET points = points + 1",
    "a_purchase_gave_back_no_more_than_it_earned": "UPDATE returns SET points = 1000",
}


@pytest.mark.parametrize("law", DAMAGES)
async def test_a_broken_law_is_named(loyalty: Loyalty, law: str) -> None:
    number = card()
    await loyalty.knows(number)
    bought = purchase(number, 114_000)
    await loyalty.hear(bought)
    await loyalty.hear(came_back(bought, {1: 2_000}))
    assert await loyalty.differences() == []
    await loyalty.rows(DAMAGES[law])
    assert law in {each.law for each in await loyalty.differences()}
