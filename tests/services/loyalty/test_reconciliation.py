"""The proof of the ledger finds each kind of damage."""

import pytest

from tests.services.loyalty.world import Loyalty, came_back, card, purchase

DAMAGES = {
    "entries_of_an_operation_sum_to_zero": "UPDATE entries SET amount = amount + 1 WHERE balance_after IS NULL",
    "every_operation_has_its_two_entries": "DELETE FROM entries WHERE balance_after IS NULL",
    "every_entry_belongs_to_an_operation": "DELETE FROM operations",
    "entries_of_an_account_sum_to_its_balance": "UPDATE accounts SET balance = balance + 1",
    "lots_of_an_account_sum_to_its_balance_and_debt": "UPDATE lots SET remaining = remaining - 1",
    "pending_points_are_those_of_pending_lots": "UPDATE accounts SET pending = pending + 1",
    "held_points_are_those_held_in_lots": "UPDATE accounts SET held = held + 1",
    "held_points_are_those_of_standing_holds": "UPDATE accounts SET held = held + 1",
    "what_is_held_of_a_lot_is_held_by_its_holds": "UPDATE lots SET held = held + 1",
    "debts_of_an_account_sum_to_its_debt": "UPDATE accounts SET debt = debt + 1",
    "what_left_a_lot_is_accounted_for": "DELETE FROM lot_movements",
    "an_operation_moves_in_lots_and_debt_what_it_enters": "DELETE FROM lot_movements",
    "a_purchase_took_the_points_that_it_was_paid_with": "UPDATE purchases SET points_paid = 1",
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
