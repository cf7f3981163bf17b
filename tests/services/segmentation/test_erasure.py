"""What is left of a customer who was erased, whatever comes late or at the same time."""

import asyncio
from uuid import UUID

from contracts.customers import CustomerErased
from services.segmentation.erasure import forget_customers
from services.segmentation.recompute import score_everybody
from services.segmentation.tables import metadata
from tests.services.segmentation.test_rejections import rejected
from tests.services.segmentation.world import (
    NOW,
    OpenSegmentation,
    Segmentation,
    accrued,
    came_back,
    ids,
)


def erased(customer_id: UUID) -> CustomerErased:
    return CustomerErased(customer_id=customer_id, erased_at=NOW)


async def tables_that_know(segmentation: Segmentation, customer_id: UUID) -> set[str]:
    known = set()
    for name, table in metadata.tables.items():
        if "customer_id" in table.c:
            found = await segmentation.one(
                f"SELECT count(*) AS n FROM {name} WHERE customer_id = :who", who=customer_id
            )
            known |= {name} if found["n"] else set()
    return known


async def test_only_the_id_of_an_erased_customer_is_left(segmentation: Segmentation) -> None:
    anna, boris = ids(2)
    purchase = accrued(anna, categories={"TEA": 100})
    await segmentation.hear(purchase, came_back(purchase, 100), accrued(boris, categories={"TEA": 100}))
    await segmentation.hear(rejected(accrued(anna)))
    await segmentation.recompute()
    everywhere = await tables_that_know(segmentation, anna)
    assert everywhere == {name for name, table in metadata.tables.items() if "customer_id" in table.c}
    await segmentation.hear(erased(anna))
    assert await tables_that_know(segmentation, anna) == {"features"}
    assert await tables_that_know(segmentation, boris) == everywhere - {"returns", "rejections"}
    left = await segmentation.one("SELECT * FROM features WHERE customer_id = :who", who=anna)
    assert {name: value for name, value in left.items() if value} == {
        "customer_id": anna,
        "changed_at": NOW,
        "erased_at": NOW,
    }


async def test_what_comes_after_the_erasure_builds_nothing(segmentation: Segmentation) -> None:
    (anna,) = ids(1)
    purchase = accrued(anna)
    await segmentation.hear(erased(anna))
    await segmentation.hear(purchase, came_back(purchase, 100), erased(anna))
    await segmentation.recompute()
    assert await tables_that_know(segmentation, anna) == {"features"}
    assert await segmentation.said() == []


async def test_an_erasure_that_a_recomputation_runs_into_is_waited_for(open_segmentation: OpenSegmentation) -> None:
    one, other = open_segmentation(), open_segmentation()
    anna, boris = ids(2)
    await one.hear(accrued(anna), accrued(boris))
    async with one.database.transaction() as tx:
        await forget_customers(tx, {anna: NOW})
        recomputing = asyncio.create_task(_score(other))
        await one.until_blocked(recomputing)
    await recomputing
    assert await tables_that_know(one, anna) == {"features"}
    assert "rfm" in await tables_that_know(one, boris)


async def test_a_recomputation_that_an_erasure_runs_into_is_waited_for(open_segmentation: OpenSegmentation) -> None:
    one, other = open_segmentation(), open_segmentation()
    (anna,) = ids(1)
    await one.hear(accrued(anna))
    async with one.database.transaction() as tx:
        await score_everybody(tx)
        erasing = asyncio.create_task(other.hear(erased(anna)))
        await one.until_blocked(erasing)
    await erasing
    await one.recompute()
    assert await tables_that_know(one, anna) == {"features"}
    assert await one.said() == []


async def test_a_purchase_that_an_erasure_runs_into_is_erased_too(open_segmentation: OpenSegmentation) -> None:
    one, other = open_segmentation(), open_segmentation()
    (anna,) = ids(1)
    await one.hear(accrued(anna))
    async with one.database.transaction() as tx:
        await forget_customers(tx, {anna: NOW})
        buying = asyncio.create_task(other.hear(accrued(anna)))
        await one.until_blocked(buying)
    await buying
    assert await tables_that_know(one, anna) == {"features"}


async def _score(segmentation: Segmentation) -> None:
    async with segmentation.database.transaction() as tx:
        await score_everybody(tx)
