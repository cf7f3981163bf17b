"""The whole service, two processes of it, between real topics."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from uuid import UUID

from chassis.envelope import decode
from chassis.ids import new_id
from chassis.publishing import Publication, Publisher
from contracts.customers import CustomerErased
from contracts.records import Record
from contracts.segmentation import RfmMoved
from services.segmentation.__main__ import service
from tests.harness import House, until
from tests.infra import Kafka, Postgres
from tests.services.segmentation.world import DAY, accrued, came_back, ids

KEPT = "SELECT customer_id, purchases, returns, erased_at FROM features ORDER BY customer_id"
MOVED_ALL = """
SELECT count(*) = $1 AND bool_and(said_segment = segment) FROM rfm WHERE segment IS NOT NULL
"""


async def publish(house: House, *records: Record) -> None:
    async with Publisher(house.kafka.bootstrap) as publisher:
        await publisher.publish_many(Publication(record, new_id(), "/test", datetime.now(UTC)) for record in records)


async def moves(house: House) -> dict[UUID, list[RfmMoved]]:
    found = defaultdict(list)
    for raw in await house.records(RfmMoved.topic):
        heard = decode(raw, {RfmMoved.type: RfmMoved}, value_max_bytes=10_000)
        assert heard is not None
        assert isinstance(heard.record, RfmMoved)
        found[heard.record.customer_id].append(heard.record)
    return found


async def test_purchases_become_moves_each_said_once_and_a_replay_of_the_topic_changes_nothing(
    kafka: Kafka, postgres: Postgres
) -> None:
    now = datetime.now(UTC)
    people = ids(60)
    bought = [accrued(who, 100 * n, at=now - (n % 20) * DAY) for n in range(1, 6) for who in people]
    returned = [came_back(purchase) for purchase in bought[::7]]
    async with House.built(service, kafka, postgres) as house:
        instances = [house.start(rfm_every_s=1) for _ in range(2)]
        for instance in instances:
            await instance.until_ready()
        await publish(house, *bought, *returned)
        await house.until_drained()
        await until(lambda: house.value(MOVED_ALL, len(people)), what="everybody has a segment and it is said")
        await publish(house, CustomerErased(customer_id=people[0], erased_at=now))
        await house.until_drained()
        for instance in instances:
            assert await instance.stop() == 0
        kept = [tuple(row) for row in await house.rows(KEPT)]

        gone = {each.receipt_id for each in returned}
        left = Counter(each.customer_id for each in bought if each.receipt_id not in gone)
        assert {who: purchases for who, purchases, _, _ in kept} == {**left, people[0]: 0}
        for said in (await moves(house)).values():
            assert [move.before for move in said] == [None, *(move.after for move in said[:-1])]

        async with house.database.transaction() as tx:
            await tx.sql("DELETE FROM inbox")
        await house.rewind()
        await house.start(rfm_every_s=1).until_ready()
        await house.until_drained()
        assert await house.value("SELECT count(*) FROM inbox") == len(bought) + len(returned) + 1
        assert [tuple(row) for row in await house.rows(KEPT)] == kept
