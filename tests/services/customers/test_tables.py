from chassis.migrations import differences
from tests.services.customers.world import Customers


async def test_the_migrated_database_is_the_one_that_the_code_describes(customers: Customers) -> None:
    assert await differences(customers.database.engine, "customers") == []
