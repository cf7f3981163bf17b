import asyncio
import io
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from rich.console import Console

from chassis import dead_letter_settling
from chassis.database import Database
from chassis.dead_letters import Cap, DeadLetter, bury
from chassis.envelope import Raw, Unprocessable
from chassis.settings import Settings
from chassis.tables import outbox
from deploy import dead_letters
from deploy.local.ports import free_port
from deploy.service_api import ServiceApi
from deploy.settings import SERVICES, RunSettings
from deploy.trouble import Trouble
from tests.chassis.http_world import listening, metadata, notes_app

TOKEN = "0123456789abcdef"
HEADERS = (("ce_type", b"pos.purchase_completed.v1"),)
Work = Callable[[ServiceApi, Console], None]


@pytest.fixture
async def loyalty(database: Callable[[str], str]) -> AsyncIterator[Database]:
    """The database of a service that is called loyalty here."""
    url = sa.make_url(database("letters"))
    server = Settings(database=url.set(database="postgres").render_as_string(hide_password=False))
    opened = Database(str(url.database), server)
    async with opened.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield opened
    await opened.close()


@pytest.fixture
async def settings(loyalty: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunSettings]:
    """Loyalty answers, and asks for a token; the other services have no dead letters, for they are all one."""
    monkeypatch.setenv("KOPILKA_API_TOKEN", TOKEN)
    app = notes_app(loyalty, settings=Settings(api_token=TOKEN))
    async with listening(app) as port:
        yield RunSettings(**{f"{service}_port": port for service in SERVICES})  # type: ignore[arg-type]


async def buried(database: Database, *values: bytes, reason: str = "not_json") -> list[UUID]:
    raws = [
        Raw("pos.purchases", 0, hash((reason, number)), 1_700_000_000_000, b"2900000000018", value, HEADERS)
        for number, value in enumerate(values)
    ]
    async with database.transaction() as tx:
        letters = [DeadLetter(raw, Unprocessable(reason, "value: broken [here]")) for raw in raws]
        await bury(tx, letters, group="loyalty", cap=Cap(1000, timedelta(hours=1)))
    async with database.transaction() as tx:
        await tx.execute(sa.delete(outbox))
        found = await dead_letter_settling.find(tx, reason=reason)
    return [letter.id for letter in found]


async def words_said(database: Database) -> list[bytes]:
    async with database.reading() as tx:
        return list((await tx.execute(sa.select(outbox.c.value).order_by(outbox.c.id))).scalars())


async def told(settings: RunSettings, work: Work) -> str:
    """What the operator reads; the command is synchronous, as in a terminal."""

    def run() -> str:
        console = Console(file=io.StringIO(), width=240)
        with ServiceApi(settings) as api:
            work(api, console)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert isinstance(text, str)
        return text

    return await asyncio.to_thread(run)


def listing(**narrowed: object) -> Work:
    asked: dict[str, object] = {"services": ["loyalty"], "topic": None, "settled": False, "most": 50}
    return lambda api, console: dead_letters.show_list(api, console, **(asked | narrowed))  # type: ignore[arg-type]


def replaying(*ids: UUID, **by: object) -> Work:
    asked: dict[str, object] = {"services": ["loyalty"], "reason": None, "topic": None}
    named = [str(each) for each in ids]
    return lambda api, console: dead_letters.replay(api, console, named, **(asked | by))  # type: ignore[arg-type]


async def test_dead_letters_are_listed_with_their_reason_and_place(settings: RunSettings, loyalty: Database) -> None:
    (letter,) = await buried(loyalty, b"{")
    text = await told(settings, listing())
    assert str(letter) in text
    assert "pos.purchases/0:" in text
    assert "not_json" in text
    assert "value: broken [here]" in text


async def test_one_is_shown_with_the_bytes_that_came(settings: RunSettings, loyalty: Database) -> None:
    (letter,) = await buried(loyalty, b'{"total_minor": 114000}', reason="invalid")
    text = await told(settings, lambda api, console: dead_letters.show_one(api, console, str(letter)))
    assert '"total_minor": 114000' in text
    assert "pos.purchase_completed.v1" in text


async def test_a_replay_puts_the_named_records_back(settings: RunSettings, loyalty: Database) -> None:
    first, _second = await buried(loyalty, b"one", b"two")
    assert await told(settings, replaying(first)) == "1 record is on its way again.\n"
    assert await words_said(loyalty) in ([b"one"], [b"two"])


async def test_a_replay_of_a_reason_puts_all_of_them_back(settings: RunSettings, loyalty: Database) -> None:
    await buried(loyalty, *(b"x" * number for number in range(600)), reason="invalid")
    await buried(loyalty, b"other", reason="not_json")
    assert await told(settings, replaying(reason="invalid")) == "600 records are on their way again.\n"
    assert len(await words_said(loyalty)) == 600
    assert "not_json" in await told(settings, listing())


async def test_a_dropped_record_is_listed_no_more(settings: RunSettings, loyalty: Database) -> None:
    (letter,) = await buried(loyalty, b"{")
    assert "dropped" in await told(settings, lambda api, console: dead_letters.drop(api, console, [str(letter)]))
    assert await told(settings, listing()) == "No dead letters.\n"
    assert "dropped" in await told(settings, listing(settled=True))


async def test_a_long_list_is_fetched_page_by_page(settings: RunSettings, loyalty: Database) -> None:
    await buried(loyalty, *(b"{" for _ in range(230)))
    assert (await told(settings, listing(most=1000))).count("not_json") == 230
    assert (await told(settings, listing(most=210))).count("not_json") == 210


async def test_what_is_settled_already_is_told_in_the_services_own_words(
    settings: RunSettings, loyalty: Database
) -> None:
    (letter,) = await buried(loyalty, b"{")
    await told(settings, replaying(letter))
    with pytest.raises(Trouble, match="settled already: its state is replayed"):
        await told(settings, replaying(letter))


async def test_an_unknown_id_is_told(settings: RunSettings) -> None:
    with pytest.raises(Trouble, match="no service has a dead letter"):
        await told(settings, replaying(UUID(int=7)))


async def test_a_replay_of_nothing_in_particular_is_refused(settings: RunSettings) -> None:
    with pytest.raises(Trouble, match="--reason"):
        await told(settings, replaying())


async def test_a_service_that_does_not_answer_is_named() -> None:
    port = free_port()
    nowhere = RunSettings(**{f"{service}_port": port for service in SERVICES})  # type: ignore[arg-type]
    with pytest.raises(Trouble, match=f"loyalty does not answer at http://127.0.0.1:{port}"):
        await told(nowhere, listing())
