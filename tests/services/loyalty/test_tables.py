"""The migrations make what the tables say."""

from chassis.migrations import differences
from tests.services.loyalty.world import Loyalty


async def test_the_migrated_database_is_what_the_tables_say(loyalty: Loyalty) -> None:
    assert await differences(loyalty.database.engine, "loyalty") == []
