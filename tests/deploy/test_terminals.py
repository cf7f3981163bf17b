"""`kopilka terminals` against a loyalty service that really answers."""

import asyncio
import io
import re
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


async def test_what_was_done_to_a_till_is_shown_with_who_did_it(house: RunSettings) -> None:
    await told(house, lambda api, console: terminals.register(api, console, "367-04", "367"))
    await told(house, lambda api, console: terminals.show_new_key(api, console, "367-04"))
    for work in (terminals.block, terminals.unblock):
        await told(house, lambda api, console, work=work: work(api, console, "367-04"))  # type: ignore[misc]
    await told(house, lambda api, console: terminals.register(api, console, "367-04", "112"))

    (head, *lines) = await told(house, lambda api, console: terminals.show_changes(api, console, "367-04", most=20))
    assert head.split() == ["When", "What", "Store", "Who"]
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert [row[1:-1] for row in rows] == [
        ["moved", "112"],
        ["let in again"],
        ["blocked"],
        ["new key"],
        ["registered", "367"],
    ]
    assert all(row[-1].startswith("operator") for row in rows)
    newest = await told(house, lambda api, console: terminals.show_changes(api, console, "367-04", most=1))
    assert [line.split() for line in newest] == [head.split(), lines[0].split()]


async def test_a_till_that_nobody_registered_is_told_so(house: RunSettings) -> None:
    with pytest.raises(Trouble, match="loyalty: No till has this id; register it first"):
        await told(house, lambda api, console: terminals.show_new_key(api, console, "367-99"))
