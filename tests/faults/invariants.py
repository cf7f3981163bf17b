"""What must hold of loyalty after anything that was done to it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from chassis.envelope import Raw
from services.loyalty import reconciliation
from tests.harness import House

PURCHASES = "SELECT receipt_id FROM purchases WHERE state <> 'awaited'"
OPERATIONS = "SELECT id, points FROM operations"
BALANCES = """
SELECT customer_id, balance FROM accounts WHERE EXISTS (SELECT FROM operations WHERE account_id = accounts.id)
"""


async def assert_all_is_well(
    house: House, receipts: set[str], returns: set[str] | None = None, *, waiting: int = 0, dead: int = 0
) -> None:
    """Wait until nothing is under way any more; then each of these receipts and returns was entered once, and so on."""
    await house.until_drained()
    async with house.database.reading() as tx:
        assert await reconciliation.differences(tx) == []
    entered = Counter(row.receipt_id for row in await house.rows(PURCHASES))
    assert entered == Counter(receipts), _missing_and_more(entered, receipts)
    taken_back = Counter(row.return_id for row in await house.rows("SELECT return_id FROM returns"))
    assert taken_back == Counter(returns or ()), _missing_and_more(taken_back, returns or set())
    assert await house.value("SELECT count(*) FROM waiting") == waiting
    assert await house.value("SELECT count(*) FROM dead_letters") == dead
    events = await house.records("loyalty.events")
    await _each_operation_has_one_event(house, events)
    _balances_run_on(events)
    await _last_states_are_the_balances(house)


async def _each_operation_has_one_event(house: House, events: Sequence[Raw]) -> None:
    said = Counter(UUID(_data(event)["operation_id"]) for event in events)
    twice = [operation for operation, times in said.items() if times > 1]
    assert not twice, f"{len(twice)} operations have more than one event, among them {twice[:3]}"
    operations = {row.id for row in await house.rows(OPERATIONS)}
    assert said.keys() == operations, (
        f"{len(operations - said.keys())} operations have no event, "
        f"{len(said.keys() - operations)} events have no operation"
    )


def _balances_run_on(events: Sequence[Raw]) -> None:
    """Per customer each event goes on from the balance that the one before it left."""
    balances: dict[str, int] = defaultdict(int)
    for event in events:
        data = _data(event)
        sign = 1 if dict(event.headers)["ce_type"] == b"loyalty.points_accrued.v1" else -1
        customer = data["customer_id"]
        assert data["balance_after"] == balances[customer] + sign * data["points"], f"out of order: {event}"
        balances[customer] = data["balance_after"]


async def _last_states_are_the_balances(house: House) -> None:
    states: dict[UUID, int] = {}
    for record in await house.records("loyalty.balances"):
        states[UUID((record.key or b"").decode())] = _data(record)["balances"][0]["available"]
    assert states == {row.customer_id: row.balance for row in await house.rows(BALANCES)}


def _data(record: Raw) -> Any:
    return orjson.loads(record.value or b"")


def _missing_and_more(found: Counter[str], expected: set[str]) -> str:
    missing, more = expected - found.keys(), [each for each in found if found[each] > 1 or each not in expected]
    return f"{len(missing)} missing, among them {sorted(missing)[:3]}; {len(more)} too many, among them {more[:3]}"
