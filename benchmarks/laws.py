"""What makes a figure void: a law of the ledger that is broken after the run."""

import json

from benchmarks.stage import Scene
from chassis.database import Database
from chassis.topic_reading import TopicReader
from services.loyalty import reconciliation

OPERATIONS = "SELECT id, type, receipt_id FROM operations WHERE id > $1"
WORK_MEM = "SET LOCAL work_mem = '256MB'"
"""The laws are proved over millions of rows."""


async def violations(scene: Scene, purchases: int) -> int:
    """How many laws are broken: the ledger's, one accrual a receipt, and one event an operation where there is a bus.

    `purchases`: how many receipts there were.
    """
    database = Database("loyalty", scene.settings)
    async with database.reading() as tx:
        await tx.sql(WORK_MEM)
        broken = len(await reconciliation.differences(tx))
        rows = await tx.sql(OPERATIONS, scene.since)
    await database.close()
    accrued = [row.receipt_id for row in rows if row.type == "purchase"]
    broken += abs(purchases - len(accrued)) + len(accrued) - len(set(accrued))
    return broken + (await _of_events(scene, {str(row.id) for row in rows}) if scene.kafka else 0)


async def _of_events(scene: Scene, operations: set[str]) -> int:
    events: list[str] = []
    async with TopicReader(scene.kafka) as bus:
        async for raw in bus.read("loyalty.events", start="beginning", follow=False):
            operation = json.loads(raw.value or b"").get("operation_id")
            events += [operation] if operation else []
    return len(operations ^ set(events)) + len(events) - len(set(events))
