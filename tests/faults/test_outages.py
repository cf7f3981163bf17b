"""PostgreSQL and Kafka go away and come back while two instances work: all they need is time."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import pytest

from services.loyalty.__main__ import service
from tests.faults.chain import Chain
from tests.faults.invariants import assert_all_is_well
from tests.harness import House, until
from tests.infra import Kafka, Postgres

pytestmark = pytest.mark.timeout(180)
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'kopilka-loyalty%' AND pid <> pg_backend_pid()
  AND ($1 OR state <> 'idle')
"""


async def sell_through(house: House, trouble: Callable[[], Awaitable[None]]) -> None:
    """Sell while the trouble runs its course in front of two instances, then see whether all is well."""
    chain = Chain(house.kafka, seed=5)
    await chain.publish(chain.cards())
    instances = [house.start(), house.start()]
    for instance in instances:
        await instance.until_ready()
    async with chain.selling():
        before = await operations(house)
        await until(lambda: more_operations(house, before), what="work is done before the trouble")
        await trouble()
        before = await operations(house)
        await until(lambda: more_operations(house, before), what="work goes on after the trouble", within_s=60)
    await assert_all_is_well(house, chain.receipts, chain.returns)
    assert all(instance.runs for instance in instances), "trouble of the infrastructure ended a process"


async def operations(house: House) -> int:
    return int(await house.value("SELECT count(*) FROM operations"))


async def more_operations(house: House, than: int) -> bool:
    return await operations(house) > than + 200


async def test_postgres_stopped_at_once_and_started_again(kafka: Kafka, own_postgres: Postgres) -> None:
    async with House.built(service, kafka, own_postgres) as house:

        async def stop_and_start() -> None:
            await asyncio.to_thread(own_postgres.stop, "immediate")
            await asyncio.sleep(1)
            await asyncio.to_thread(own_postgres.start)
            await house.reconnect()

        await sell_through(house, stop_and_start)


async def test_backends_terminated_in_the_middle_of_their_work(kafka: Kafka, postgres: Postgres) -> None:
    async with House.built(service, kafka, postgres) as house:
        chance = random.Random(1)

        async def terminate_again_and_again() -> None:
            cuts, ends_at = 0, time.monotonic() + 4
            while time.monotonic() < ends_at:
                cuts += len(await house.rows(CUT, chance.random() < 0.3))
                await asyncio.sleep(chance.uniform(0, 0.1))
            assert cuts > 20

        await sell_through(house, terminate_again_and_again)


async def test_kafka_killed_and_started_again(own_kafka: Kafka, postgres: Postgres) -> None:
    async with House.built(service, own_kafka, postgres) as house:

        async def kill_and_start() -> None:
            await asyncio.to_thread(own_kafka.kill)
            await asyncio.sleep(1)
            await asyncio.to_thread(own_kafka.start)

        await sell_through(house, kill_and_start)
