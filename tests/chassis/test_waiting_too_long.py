"""What never comes is waited for so long and no longer; whoever gives up and whoever recalls share nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from chassis import dead_letter_settling, waiting
from chassis.database import Database
from chassis.dead_letters import Cap, DeadLetter
from chassis.delivery import Delivery
from chassis.envelope import Heard, Raw, Unprocessable, decode, unpack_headers
from chassis.giving_up import PIECE_RECORDS, give_up_long_waits
from chassis.hears import Hears
from chassis.jobs import Job, housekeeping, run_job
from chassis.settings import Settings
from chassis.transaction import Transaction
from contracts.purchases import PurchaseCancelled
from contracts.records import Record
from tests.chassis.conftest import OpenDatabase
from tests.chassis.http_world import calling, notes_app
from tests.chassis.purchase_records import KNOWN, NOW, VALUE_MAX_BYTES, cancelled, heard
from tests.harness import until, waiters

HOLD = "INSERT INTO place (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = place.name RETURNING known"
INTRODUCE = "INSERT INTO place (name, known) VALUES ($1, true) ON CONFLICT (name) DO UPDATE SET known = true"
MONTH = timedelta(days=30)
keys = count()


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def passes(self, time: timedelta) -> None:
        self.now += time


class Desk:
    """A service that enters cancellations of cards that it knows, and has the others wait."""

    def __init__(self, database: Database, clock: Clock, *, cap: int = 100) -> None:
        self.database = database
        self.clock = clock
        self.hears = Hears()
        self.hears.many(PurchaseCancelled)(self.cancelled)
        self.entered: list[str] = []
        self.delivery = Delivery(database.service, self.hears, database, cap=Cap(cap, timedelta(minutes=10)))

    async def cancelled(self, events: Sequence[PurchaseCancelled], tx: Transaction) -> None:
        for event in events:
            ((known,),) = await tx.sql(HOLD, event.key)
            if known:
                self.entered.append(event.receipt_id)
            else:
                await waiting.keep(tx, [event], awaits=[f"card:{event.key}"])

    async def introduce(self, card: str) -> None:
        async with self.database.transaction() as tx:
            await tx.sql(INTRODUCE, card)
            self.entered += [each.receipt_id for each in await recalled(tx, card)]

    async def hear(self, *early: Heard) -> None:
        await self.delivery.deliver(early)

    async def give_up(self, **settings: Any) -> None:
        """The job as every service has it."""
        await run_job(of_housekeeping(Settings(**settings)), self.database)

    async def dead(self) -> list[tuple[int, str]]:
        async with self.database.reading() as tx:
            rows = await tx.sql('SELECT "offset" AS at, reason FROM dead_letters ORDER BY id')
        return [(row.at, row.reason) for row in rows]

    async def waits(self) -> list[int]:
        async with self.database.reading() as tx:
            return [row.at for row in await tx.sql('SELECT "offset" AS at FROM waiting ORDER BY id')]

    async def replay(self) -> list[Heard]:
        """All dead letters go back to their topic; gives them as they come off it."""
        async with self.database.transaction() as tx:
            letters = await dead_letter_settling.find(tx)
            await dead_letter_settling.replay(tx, [each.id for each in letters])
        return [again(each, offset=1000 + place) for place, each in enumerate(letters)]


def of_housekeeping(settings: Settings) -> Job:
    (job,) = [each for each in housekeeping(settings) if each.name == "give_up_long_waits"]
    return job


def again(letter: dead_letter_settling.KeptLetter, *, offset: int) -> Heard:
    found = decode(
        Raw(letter.topic, 0, offset, 1, letter.key, letter.value, letter.headers),
        KNOWN,
        value_max_bytes=VALUE_MAX_BYTES,
    )
    assert found is not None
    return found


def early(number: int, *, first: int = 0, card: str = "29000000") -> list[Heard]:
    return [heard(cancelled(card_number=card), offset=first + place) for place in range(number)]


async def recalled(tx: Transaction, card: str) -> list[PurchaseCancelled]:
    records: list[Record] = await waiting.recall(tx, [f"card:{card}"])
    return [each for each in records if isinstance(each, PurchaseCancelled)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(open_database: OpenDatabase, clock: Clock) -> Database:
    database = await open_database()
    database.clock = clock
    async with database.transaction() as tx:
        await tx.sql("CREATE TABLE place (name text PRIMARY KEY, known boolean NOT NULL DEFAULT false)")
    return database


@pytest.fixture
def desk(database: Database, clock: Clock) -> Desk:
    return Desk(database, clock)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(notes_app(database, settings=Settings(waiting_days=7))) as client:
        yield client


async def dismiss(client: httpx.AsyncClient, id: int, **form: Any) -> httpx.Response:
    headers = {"Idempotency-Key": str(next(keys)), "Kopilka-Actor": "operator:olga"}
    return await client.post(f"/waiting/{id}/dismiss", json=form, headers=headers)


async def test_what_waited_too_long_is_a_dead_letter_and_the_rest_waits_on(desk: Desk, clock: Clock) -> None:
    await desk.hear(*early(3))
    clock.passes(timedelta(days=1))
    await desk.hear(*early(2, first=3))
    clock.passes(MONTH - timedelta(days=1, seconds=1))
    await desk.give_up()
    assert await desk.dead() == []
    clock.passes(timedelta(seconds=1))
    await desk.give_up()
    assert await desk.dead() == [(0, "waited_too_long"), (1, "waited_too_long"), (2, "waited_too_long")]
    assert await desk.waits() == [3, 4]


async def test_how_long_is_a_setting(desk: Desk, clock: Clock) -> None:
    await desk.hear(*early(1))
    clock.passes(timedelta(days=3))
    await desk.give_up(waiting_days=4)
    assert await desk.waits() == [0]
    await desk.give_up(waiting_days=3)
    assert await desk.waits() == []


async def test_the_dead_letter_is_on_its_topic_whole_and_says_what_never_came(
    desk: Desk, clock: Clock, database: Database
) -> None:
    [record] = early(1)
    await desk.hear(record)
    clock.passes(MONTH)
    await desk.give_up()
    async with database.reading() as tx:
        [word] = await tx.sql("SELECT topic, key, headers, value FROM outbox")
    headers = dict(unpack_headers(word.headers))
    assert (word.topic, word.key, word.value) == (
        f"pos.purchases.{database.service}.dlq",
        record.raw.key,
        record.raw.value,
    )
    assert headers["dlq_reason"] == b"waited_too_long"
    detail = b"waited 30 days for card:29000000, which did not come; replay it when it has come, or drop it"
    assert headers["dlq_detail"] == detail


async def test_a_phone_that_never_came_is_not_written_into_the_reason(
    desk: Desk, clock: Clock, database: Database
) -> None:
    [record] = early(1)
    async with database.transaction() as tx:
        tx.hearing([record])
        await waiting.keep(tx, [record.record], awaits=["phone:+79161234567"])
    clock.passes(MONTH)
    await desk.give_up()
    async with database.reading() as tx:
        [letter] = await tx.sql("SELECT detail FROM dead_letters")
    assert "phone:…4567" in letter.detail
    assert "916123" not in letter.detail


async def test_many_are_given_up_in_pieces_oldest_first(desk: Desk, clock: Clock, database: Database) -> None:
    await desk.hear(*early(2 * PIECE_RECORDS + 1))
    clock.passes(MONTH)
    async with database.transaction() as tx:
        assert await give_up_long_waits(tx, MONTH)
    assert [at for at, _ in await desk.dead()] == list(range(PIECE_RECORDS))
    await desk.give_up()
    assert [at for at, _ in await desk.dead()] == list(range(2 * PIECE_RECORDS + 1))


async def test_a_replay_waits_anew_while_the_card_is_unknown(desk: Desk, clock: Clock) -> None:
    await desk.hear(*early(1))
    clock.passes(MONTH)
    await desk.give_up()
    await desk.hear(*await desk.replay())
    assert await desk.waits() == [1000]
    await desk.give_up()
    assert await desk.waits() == [1000]
    clock.passes(MONTH)
    await desk.give_up()
    assert await desk.dead() == [(0, "waited_too_long"), (1000, "waited_too_long")]


async def test_a_replay_is_handled_when_the_card_is_known_by_then(desk: Desk, clock: Clock) -> None:
    records = early(2)
    await desk.hear(*records)
    clock.passes(MONTH)
    await desk.give_up()
    await desk.introduce("29000000")
    assert desk.entered == []
    await desk.hear(*await desk.replay())
    assert desk.entered == [each.record.receipt_id for each in records]  # type: ignore[attr-defined]


async def test_thousands_given_up_at_once_do_not_stop_the_worker(database: Database, clock: Clock) -> None:
    desk = Desk(database, clock, cap=2)
    await desk.hear(*early(20))
    clock.passes(MONTH)
    await desk.give_up()
    assert len(await desk.dead()) == 20
    broken = heard(cancelled(), offset=500).raw
    for place in range(2):
        letter = DeadLetter(
            Raw("pos.purchases", 0, 500 + place, 1, b"1", b"{", broken.headers),
            Unprocessable("not_json", "value: broken"),
        )
        await desk.delivery.deliver([letter])
    assert len(await desk.dead()) == 22


async def test_a_card_that_comes_while_its_records_are_given_up_finds_none_of_them(
    desk: Desk, clock: Clock, database: Database
) -> None:
    await desk.hear(*early(3))
    clock.passes(MONTH)
    async with asyncio.TaskGroup() as both, database.transaction() as tx:
        assert not await give_up_long_waits(tx, MONTH)
        introducing = both.create_task(desk.introduce("29000000"))
        await until(lambda: waiters(database), what="the introduction waits for the records")
        assert not introducing.done()
    assert desk.entered == []
    assert len(await desk.dead()) == 3


async def test_what_is_recalled_at_this_moment_is_not_given_up_nor_waited_for(
    desk: Desk, clock: Clock, database: Database
) -> None:
    records = early(3)
    await desk.hear(*records)
    await desk.hear(*early(1, first=3, card="29000001"))
    clock.passes(MONTH)
    async with asyncio.timeout(20), database.transaction() as tx:
        found = await recalled(tx, "29000000")
        await desk.give_up()
    assert found == [each.record for each in records]
    assert await desk.dead() == [(3, "waited_too_long")]
    assert await desk.waits() == []


async def test_what_was_recalled_in_vain_is_given_up_at_the_next_turn(
    desk: Desk, clock: Clock, database: Database
) -> None:
    await desk.hear(*early(1))
    clock.passes(MONTH)
    with pytest.raises(KeyError):
        async with database.transaction() as tx:
            await recalled(tx, "29000000")
            await desk.give_up()
            raise KeyError
    assert await desk.waits() == [0]
    await desk.give_up()
    assert await desk.dead() == [(0, "waited_too_long")]


async def test_two_that_give_up_at_once_share_nothing(desk: Desk, clock: Clock, database: Database) -> None:
    await desk.hear(*early(10))
    clock.passes(MONTH)
    async with asyncio.timeout(20), database.transaction() as one, database.transaction() as other:
        assert await give_up_long_waits(one, MONTH, most=10)
        assert not await give_up_long_waits(other, MONTH, most=10)
    assert len(await desk.dead()) == 10


async def test_the_age_of_what_waits_longest_and_how_many_waited_too_long_are_measured(
    desk: Desk, clock: Clock, database: Database
) -> None:
    labels = {"service": database.service}
    await desk.hear(*early(2))
    clock.passes(timedelta(days=29))
    await desk.hear(*early(1, first=2))
    await desk.give_up()
    assert REGISTRY.get_sample_value("kopilka_waiting_age_seconds", labels) == 29 * 86_400
    before = REGISTRY.get_sample_value("kopilka_waited_too_long_total", labels) or 0
    clock.passes(timedelta(days=1))
    await desk.give_up()
    assert REGISTRY.get_sample_value("kopilka_waiting_age_seconds", labels) == 86_400
    assert REGISTRY.get_sample_value("kopilka_waited_too_long_total", labels) == before + 2
    clock.passes(MONTH)
    await desk.give_up()
    assert REGISTRY.get_sample_value("kopilka_waiting_age_seconds", labels) == 0


async def test_what_waits_is_listed_with_until_when(desk: Desk, client: httpx.AsyncClient) -> None:
    await desk.hear(*early(2))
    first, second = (await client.get("/waiting")).json()["items"]
    assert (first["awaits"], first["offset"], second["offset"]) == ("card:29000000", 0, 1)
    since, ends = datetime.fromisoformat(first["since"]), datetime.fromisoformat(first["until"])
    assert (since, ends - since) == (NOW, timedelta(days=7))


async def test_an_operator_dismisses_what_waits_and_says_why(
    desk: Desk, client: httpx.AsyncClient, database: Database
) -> None:
    await desk.hear(*early(2))
    first, second = (await client.get("/waiting")).json()["items"]
    assert (await dismiss(client, second["id"], why="a card of our test till")).status_code == 204
    assert await desk.waits() == [0]
    async with database.reading() as tx:
        [letter] = await tx.sql("SELECT reason, detail FROM dead_letters")
    assert letter.reason == "dismissed"
    assert letter.detail == "dismissed by operator:olga while it waited for card:29000000: a card of our test till"
    answer = await dismiss(client, second["id"], why="once more")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:kopilka:problem:waiting_not_found")
    assert (await dismiss(client, first["id"])).status_code == 422


async def test_what_was_dismissed_can_be_replayed(desk: Desk, client: httpx.AsyncClient) -> None:
    await desk.hear(*early(1))
    [line] = (await client.get("/waiting")).json()["items"]
    await dismiss(client, line["id"], why="too early")
    await desk.introduce("29000000")
    await desk.hear(*await desk.replay())
    assert len(desk.entered) == 1


async def test_what_is_recalled_at_this_moment_cannot_be_dismissed(
    desk: Desk, client: httpx.AsyncClient, database: Database
) -> None:
    await desk.hear(*early(1))
    [line] = (await client.get("/waiting")).json()["items"]
    async with asyncio.TaskGroup() as both, database.transaction() as tx:
        assert len(await recalled(tx, "29000000")) == 1
        dismissing = both.create_task(dismiss(client, line["id"], why="too late"))
        await until(lambda: waiters(database), what="the dismissal waits for the recall")
    assert dismissing.result().status_code == 404
    assert await desk.dead() == []
