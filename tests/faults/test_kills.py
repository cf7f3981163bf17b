"""kill -9, at named places and at random moments under load: afterwards everything is there, once."""

import asyncio
import random

import pytest

from services.loyalty.__main__ import service
from tests.faults.chain import Chain
from tests.faults.invariants import assert_all_is_well
from tests.harness import House, Instance, until
from tests.infra import Kafka, Postgres

FIRST_COMMIT_WITHIN_S = 10
"""From the start of the process that follows a killed one to its first commit."""

FAILPOINTS = {
    "after_decode": 7,
    "before_database_commit": 6,
    "after_database_commit": 6,
    "before_offset_commit": 6,
    "after_offset_commit": 6,
    "before_publish_commit": 4,
    "between_send_and_delete": 4,
}
"""Each with the passage at which it kills: late enough that there was work before it."""


async def first_commit(house: House, instance: Instance) -> float:
    """Wait until the instance, the only one that runs, has committed something; gives how long after its start, s."""

    async def committed() -> bool:
        assert instance.runs, instance.log[-3000:]
        return bool(
            await house.value(
                "SELECT EXISTS (SELECT FROM inbox WHERE heard_at > to_timestamp($1))", instance.started_at
            )
        )

    await until(committed, what="the first commit", within_s=60)
    committed_at = await house.value(
        "SELECT extract(epoch FROM min(heard_at))::float FROM inbox WHERE heard_at > to_timestamp($1)",
        instance.started_at,
    )
    return float(committed_at) - instance.started_at


@pytest.mark.timeout(300)
async def test_a_kill_at_each_named_place_loses_nothing_and_repeats_nothing(kafka: Kafka, postgres: Postgres) -> None:
    async with House.built(service, kafka, postgres, batch_records=100) as house:
        chain = Chain(kafka, seed=3)
        await chain.publish(chain.cards())
        slow: dict[str, float] = {}
        async with chain.selling():
            for number, (name, passage) in enumerate(FAILPOINTS.items()):
                instance = house.start(failpoint=f"{name}:{passage}")
                if number and (took_s := await first_commit(house, instance)) > FIRST_COMMIT_WITHIN_S:
                    slow[name] = took_s
                assert await instance.until_dead(within_s=60) == -9, f"{name}\n{instance.log[-3000:]}"
            house.start()
        await assert_all_is_well(house, chain.receipts, chain.returns)
    assert not slow, f"the first commit came later than {FIRST_COMMIT_WITHIN_S} s after: {slow}"


@pytest.mark.timeout(180)
async def test_kills_at_random_moments_under_load(kafka: Kafka, postgres: Postgres, seed: int) -> None:
    """Two instances; one or both are killed again and again, at moments that the seed decides, and started anew."""
    chance = random.Random(seed)
    async with House.built(service, kafka, postgres, session_timeout_s=1.5) as house:
        chain = Chain(kafka, seed)
        await chain.publish(chain.cards())
        instances = [house.start(), house.start()]
        for instance in instances:
            await instance.until_ready()
        async with chain.selling(per_s=chance.choice([50, 400, 1000])):
            for _ in range(3):
                await asyncio.sleep(chance.uniform(0, 1.5))
                if chance.random() < 0.4:
                    for instance in instances:
                        instance.kill()
                    instances = [house.start()]
                    took_s = await first_commit(house, instances[0])
                    assert took_s < FIRST_COMMIT_WITHIN_S, f"the first commit came after {took_s:.1f} s"
                else:
                    instances.pop(chance.randrange(2)).kill()
                instances.append(house.start())
        await assert_all_is_well(house, chain.receipts, chain.returns)
