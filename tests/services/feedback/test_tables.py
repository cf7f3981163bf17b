from chassis.migrations import differences
from tests.services.feedback.world import Feedback


async def test_the_migrations_make_what_the_tables_say(feedback: Feedback) -> None:
    assert await differences(feedback.database.engine, "feedback") == []
