"""Several instances: they come and go under load, freeze past their time-outs, and wake as zombies."""

import pytest

from services.loyalty.__main__ import service
from tests.faults.chain import Chain
from tests.faults.invariants import assert_all_is_well
from tests.harness import House, Instance, until
from tests.infra import Kafka, Postgres

pytestmark = pytest.mark.timeout(180)
SHORT = {"session_timeout_s": 1.5, "transaction_idle_timeout_s": 1.5, "relay_lease_s": 1.5, "batch_records": 50}


async def operations(house: House) -> int:
    return int(await house.value("SELECT count(*) FROM operations"))


async def until_work_goes_on(house: House) -> None:
    before = await operations(house)

    async def more() -> bool:
        return await operations(house) > before + 100

    await until(more, what="purchases are entered", within_s=60)


async def until_it_leads(house: House, instance: Instance) -> None:
    """Wait until its relay has published something as the leader."""

    async def leads() -> bool:
        async with await instance.http() as client:
            return 'kopilka_relay_leads{service="loyalty"} 1.0' in (await client.get("/metrics")).text

    await until(leads, what="the relay of the other instance leads")


async def test_instances_that_join_and_leave_under_load_lose_and_repeat_nothing(
    kafka: Kafka, postgres: Postgres
) -> None:
    async with House.built(service, kafka, postgres, batch_records=50) as house:
        chain = Chain(kafka, seed=11)
        await chain.publish(chain.cards())
        async with chain.selling():
            first = await house.start().until_ready()
            second, third = house.start(), house.start()
            for instance in (second, third):
                await instance.until_ready()
            await until_work_goes_on(house)
            assert await first.stop() == 0
            await until_work_goes_on(house)
            fourth = await house.start().until_ready()
            assert await third.stop() == 0
            await until_work_goes_on(house)
            assert second.runs
            assert fourth.runs
        await assert_all_is_well(house, chain.receipts, chain.returns)


async def test_an_instance_that_froze_and_woke_does_nothing_a_second_time(kafka: Kafka, postgres: Postgres) -> None:
    async with House.built(service, kafka, postgres, **SHORT) as house:
        chain = Chain(kafka, seed=12)
        await chain.publish(chain.cards())
        async with chain.selling():
            zombie = await house.start().until_ready()
            await until_it_leads(house, zombie)
            other = await house.start().until_ready()
            for _ in range(2):
                await until_work_goes_on(house)
                zombie.freeze()
                await until_it_leads(house, other)
                await until_work_goes_on(house)
                zombie.thaw()
                await until_work_goes_on(house)
                zombie, other = other, zombie
            assert zombie.runs
            assert other.runs
        await assert_all_is_well(house, chain.receipts, chain.returns)
