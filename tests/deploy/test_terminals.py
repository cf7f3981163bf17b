"""`kopilka terminals` against a loyalty service that really answers."""

import asyncio
import io
import uuid
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from rich.console import Console

from chassis.http import build_app
from chassis.settings import Settings
from deploy import terminals
from deploy.service_api import ServiceApi
from deploy.settings import RunSettings
from deploy.trouble import Trouble
from services.loyalty.__main__ import service
from tests.chassis.http_world import always_ready, listening
from tests.infra import Postgres
from tests.services.loyalty.world import Loyalty

Work = Callable[[ServiceApi, Console], None]


@pytest.fixture
async def house(postgres: Postgres) -> AsyncIterator[RunSettings]:
    prefix = f"t{uuid.uuid4().hex[:12]}_"
    settings = Settings(database=postgres.dsn("postgres"), database_prefix=prefix)
    postgres.ensure_database(f"{prefix}loyalty")
    await service.migrate(settings)
    ledger = Loyalty(settings)
    app = build_app(
        "loyalty",
        service.api,
        ledger.database,
        settings=settings,
        readiness=always_ready,
        own_keys=service.own_keys,
    )
    async with listening(app) as port:
        yield RunSettings(loyalty_port=port)
    await ledger.close()
    postgres.drop_database(f"{prefix}loyalty")


async def told(house: RunSettings, work: Work) -> list[str]:
    """The lines that the operator reads; the command is synchronous, as in a terminal."""

    def run() -> str:
        console = Console(file=io.StringIO(), width=240)
        with ServiceApi(house) as api:
            work(api, console)
        return str(console.file.getvalue())  # type: ignore[attr-defined]

    return (await asyncio.to_thread(run)).splitlines()


async def opens(house: RunSettings, key: str) -> bool:
    async with httpx.AsyncClient() as till:
        answer = await till.get(f"{house.url('loyalty')}/till/nowhere", headers={"Authorization": f"Bearer {key}"})
    return answer.status_code == 404


@pytest.mark.parametrize("till", ["367-04", "касса [4/б]"])
async def test_a_till_is_registered_gets_a_key_and_is_shut_out_and_let_in(house: RunSettings, till: str) -> None:
    assert await told(house, terminals.show_list) == ["No tills."]
    (registered,) = await told(house, lambda api, console: terminals.register(api, console, till, "367"))
    assert registered == f"Till {till} stands in store 367. Make it a key: kopilka terminals key {till}"
    (key,) = await told(house, lambda api, console: terminals.show_new_key(api, console, till))
    assert await opens(house, key)

    assert await told(house, lambda api, console: terminals.block(api, console, till)) == [f"Till {till} is blocked."]
    assert not await opens(house, key)
    (head, line) = await told(house, terminals.show_list)
    assert head.split() == ["Till", "Store", "Key", "of", "Blocked", "since"]
    assert line.startswith(till)
    assert " 367 " in line
    assert key not in line

    await told(house, lambda api, console: terminals.unblock(api, console, till))
    assert await opens(house, key)


async def test_a_till_that_nobody_registered_is_told_so(house: RunSettings) -> None:
    with pytest.raises(Trouble, match="loyalty: No till has this id; register it first"):
        await told(house, lambda api, console: terminals.show_new_key(api, console, "367-99"))
