"""`kopilka loyalty reconcile --from DAY`: what is on the tills' topic against a loyalty that really answers."""

import asyncio
import io
import itertools
import uuid
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from rich.console import Console
from typer.testing import CliRunner

from chassis.envelope import Heard, Raw, Unprocessable, decode, encode
from chassis.giving_up import give_up_long_waits
from chassis.http import build_app
from chassis.ids import new_id
from chassis.outbox import Word
from chassis.provisioning import provision
from chassis.publishing import Publisher
from chassis.settings import Settings
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned, ReturnedLine
from contracts.records import BY_TYPE, Record
from contracts.topics import TOPICS
from deploy import cli, till_reconciliation
from deploy.service_api import ServiceApi
from deploy.settings import RunSettings
from deploy.trouble import Trouble
from services.loyalty.__main__ import service
from tests.chassis.http_world import listening
from tests.harness import commit_offsets, ends, pin_at_the_ends, records
from tests.infra import Kafka, Postgres
from tests.services.loyalty.world import NOW, Loyalty, came_back, cancelled, card, purchase

TOPIC = "pos.purchases"
FORGOTTEN = "The topic no longer has everything of those days: what it has lost shows up as extra."
MOSCOW = ZoneInfo("Europe/Moscow")
days = itertools.count()


class Chain:
    """Tills that publish, and a loyalty that hears them only when it is told to."""

    def __init__(self, kafka: Kafka, ledger: Loyalty, begins: dict[TopicPartition, int]) -> None:
        self.kafka = kafka
        self.ledger = ledger
        self.begins = begins
        self.day = date(2002, 1, 1) + timedelta(days=3 * next(days))
        self.store = f"store-{uuid.uuid4().hex[:8]}"
        self.api = RunSettings()

    def sale(self, number: str, *totals_minor: int, day: int = 0, **other: Any) -> PurchaseCompleted:
        noon = datetime.combine(self.day + timedelta(days=day), datetime.min.time(), MOSCOW) + timedelta(hours=12)
        asked: dict[str, Any] = {"store_id": self.store, "completed_at": noon, "receipt": f"r-{uuid.uuid4()}"}
        return purchase(number, *totals_minor, **asked | other)

    async def publish(self, *said: Record, times: int = 1) -> None:
        """Each an event of its own, and as often as that on the topic, byte for byte."""
        async with Publisher(self.kafka.bootstrap) as tills:
            for record in said:
                headers, value = encode(
                    record, event_id=new_id(), source="/tills/1", time=datetime.now(UTC), traceparent=None
                )
                await tills.publish_words([Word(record.topic, record.key.encode(), headers, value)] * times)

    async def publish_rubbish(self, key: str) -> None:
        async with Publisher(self.kafka.bootstrap) as tills:
            headers, _ = encode(
                self.sale(key, 1), event_id=new_id(), source="/tills/1", time=datetime.now(UTC), traceparent=None
            )
            await tills.publish_words([Word(TOPIC, key.encode(), headers, b"{")])

    async def hears(self, *, losing: Iterable[Record] = ()) -> None:
        """Loyalty hears what was published since it did last, but for what is lost on the way, and commits."""
        lost = {_receipt_or_return(each) for each in losing}
        heard = [each for each in map(understood, await records(self.kafka, TOPIC, self.begins)) if each is not None]
        await self.ledger.hear(*(each for each in heard if _receipt_or_return(each.record) not in lost))
        self.begins = await ends(self.kafka, [TOPIC])
        await commit_offsets(self.kafka, "loyalty", self.begins)

    async def told(self, *, to: int = 0, store: str | None = "", listed_in: Path | None = None) -> list[str]:
        """The lines that the operator reads, the trouble at the end among them."""
        chosen = self.store if store == "" else store
        return await self.told_of(self.day, self.day + timedelta(days=to), store=chosen, listed_in=listed_in)

    async def told_of(self, first: date, last: date, *, store: str | None, listed_in: Path | None = None) -> list[str]:
        def run() -> list[str]:
            console = Console(file=io.StringIO(), width=400)
            trouble = []
            with ServiceApi(self.api) as api:
                try:
                    till_reconciliation.reconcile(
                        api, console, self.kafka.bootstrap, first, last, store_id=store, listed_in=listed_in
                    )
                except Trouble as error:
                    trouble = [str(error)]
            lines = str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]
            return [line.replace("\N{NARROW NO-BREAK SPACE}", " ") for line in lines] + trouble

        lines = await asyncio.to_thread(run)
        if listed_in is None and await self.has_forgotten():
            assert lines.pop(0) == FORGOTTEN
        return lines

    async def has_forgotten(self) -> bool:
        """Whether the topic has lost its beginning, as it does where other tests published records of long ago."""
        async with AIOKafkaConsumer(bootstrap_servers=self.kafka.bootstrap) as consumer:
            begins = await consumer.beginning_offsets(list(self.begins))
        return any(begins.values())

    async def forget(self) -> None:
        """The topic loses everything so far."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        await admin.start()
        try:
            await admin.delete_records({each: RecordsToDelete(at) for each, at in self.begins.items() if at})
        finally:
            await admin.close()


def understood(raw: Raw) -> Heard | None:
    try:
        return decode(raw, BY_TYPE, value_max_bytes=1 << 20)
    except Unprocessable:
        return None


def _receipt_or_return(record: Record) -> tuple[str, str]:
    return record.type, str(getattr(record, "return_id", None) or getattr(record, "receipt_id", ""))


@pytest.fixture
async def settings(postgres: Postgres) -> AsyncIterator[Settings]:
    prefix = f"t{uuid.uuid4().hex[:12]}_"
    settings = Settings(database=postgres.dsn("postgres"), database_prefix=prefix)
    postgres.ensure_database(f"{prefix}loyalty")
    await service.migrate(settings)
    yield settings
    postgres.drop_database(f"{prefix}loyalty")


@pytest.fixture
async def chain(kafka: Kafka, settings: Settings) -> AsyncIterator[Chain]:
    await provision(kafka.bootstrap, [TOPICS[TOPIC]], replication=1)
    ledger = Loyalty(settings)

    async def ready() -> list[str]:
        return []

    app = build_app("loyalty", service.api, ledger.database, settings=settings, readiness=ready)
    chain = Chain(kafka, ledger, await pin_at_the_ends(kafka, "loyalty", [TOPIC], [TOPIC]))
    async with listening(app) as port:
        chain.api = RunSettings(loyalty_port=port)
        yield chain
    await ledger.close()


@pytest.fixture
async def number(chain: Chain) -> str:
    """A card that loyalty knows."""
    number = card()
    await chain.ledger.knows(number)
    return number


async def test_where_all_is_well_nothing_is_named(chain: Chain, number: str) -> None:
    sold = [chain.sale(number, 1_000, 2_000), chain.sale(number, 500, store_id="other"), chain.sale(number, 7, day=1)]
    back = came_back(sold[0], {2: 2_000}, return_id=f"b-{uuid.uuid4()}")
    await chain.publish(*sold, back, cancelled(sold[1]))
    await chain.hears()
    assert await chain.told(to=1, store=None) == [
        "The tills and the ledger agree: receipts 3, returns 2, no difference."
    ]
    assert await chain.told() == ["The tills and the ledger agree: receipts 1, returns 1, no difference."]


async def test_a_topic_that_has_lost_its_beginning_is_told(chain: Chain, number: str) -> None:
    await chain.publish(chain.sale(number, 1_000))
    await chain.hears()
    await chain.forget()
    assert await chain.has_forgotten()
    head, *_ = await chain.told()
    assert head == f"{chain.day}, store {chain.store}: the tills say 0 for 0, the ledger 1 for 1 000"


async def test_what_a_till_publishes_again_counts_once(chain: Chain, number: str) -> None:
    sold = chain.sale(number, 1_000)
    annulled = cancelled(sold)
    later = PurchaseCancelled(**annulled.model_dump() | {"cancelled_at": NOW + timedelta(minutes=1)})
    await chain.publish(sold, times=2)
    await chain.publish(sold, annulled, later)
    await chain.hears()
    assert await chain.told() == ["The tills and the ledger agree: receipts 1, returns 1, no difference."]


async def test_a_missing_receipt_is_named_with_where_it_is(chain: Chain, number: str) -> None:
    nobodys = card()
    here, waits = chain.sale(number, 1_000), chain.sale(nobodys, 2_000)
    dead, lost, unheard = (
        chain.sale(number, 3_000, currency="JPY"),
        chain.sale(number, 4_000),
        chain.sale(number, 5_000),
    )
    await chain.publish(here, waits, dead, lost)
    await chain.hears(losing=[lost])
    await chain.publish(unheard)
    head, *lines, trouble = await chain.told()
    assert head == f"{chain.day}, store {chain.store}: the tills say 5 for 15 000, the ledger 1 for 1 000"
    by_receipt = {line.partition(": ")[0].strip(): line.partition(": ")[2] for line in lines}
    assert set(by_receipt) == {f"receipt {each.receipt_id}" for each in (waits, dead, lost, unheard)}
    assert by_receipt[f"receipt {waits.receipt_id}"].startswith(f"waits for card:{nobodys} since 2025-11-02T12:00:00")
    assert by_receipt[f"receipt {dead.receipt_id}"].startswith("is a dead letter (kept): unknown_currency: currency:")
    assert by_receipt[f"receipt {unheard.receipt_id}"].startswith("is not heard yet (record ")
    assert by_receipt[f"receipt {lost.receipt_id}"].startswith("IS LOST: published (")
    assert trouble == "4 differences between the tills and the ledger"


async def test_what_waited_too_long_is_named_as_the_dead_letter_that_it_is(chain: Chain) -> None:
    nobodys = card()
    await chain.publish(chain.sale(nobodys, 2_000))
    await chain.hears()
    async with chain.ledger.database.transaction() as tx:
        await give_up_long_waits(tx, timedelta(0))
    _, line, _ = await chain.told()
    assert f"is a dead letter (kept): waited_too_long: waited 0 days for card:{nobodys}" in line


async def test_a_receipt_that_no_till_published_is_named(chain: Chain, number: str) -> None:
    extra = chain.sale(number, 1_000)
    await chain.ledger.hear(extra)
    head, line, trouble = await chain.told()
    assert "the tills say 0 for 0, the ledger 1 for 1 000" in head
    assert line == f"  receipt {extra.receipt_id}: is in the ledger, but no till published it"
    assert trouble == "1 difference between the tills and the ledger"


async def test_a_missing_and_an_extra_receipt_of_the_same_money_do_not_hide_each_other(
    chain: Chain, number: str
) -> None:
    lost, extra = chain.sale(number, 1_000), chain.sale(number, 1_000)
    await chain.publish(lost)
    await chain.hears(losing=[lost])
    await chain.ledger.hear(extra)
    _, *lines, trouble = await chain.told()
    assert len(lines) == 2
    assert trouble.startswith("2 differences")


async def test_what_was_entered_since_the_reading_began_is_not_missed_at_the_tills(chain: Chain, number: str) -> None:
    sold, later = chain.sale(number, 1_000), chain.sale(number, 2_000)
    await chain.publish(sold)
    await chain.hears()
    await chain.ledger.hear(later)
    await chain.ledger.rows(
        "UPDATE operations SET entered_at = now() + interval '1 hour' WHERE receipt_id = :id", id=later.receipt_id
    )
    (line,) = await chain.told()
    assert line.startswith("The tills and the ledger agree")


async def test_a_receipt_with_another_content_in_the_ledger_is_named(chain: Chain, number: str) -> None:
    sold = chain.sale(number, 1_000)
    other = chain.sale(number, 1_000, 500, receipt=sold.receipt_id, store_id="moved")
    await chain.ledger.hear(other)
    await chain.publish(sold)
    await chain.hears(losing=[sold])
    _, line, _ = await chain.told()
    assert line == (
        f"  receipt {sold.receipt_id}: published for 1 000, "
        f"the ledger has other content: 1 500, store moved, {chain.day}"
    )
    same_place = chain.sale(number, 2_000)
    await chain.ledger.hear(chain.sale(number, 1_500, 500, receipt=same_place.receipt_id))
    await chain.publish(same_place)
    await chain.hears(losing=[same_place])
    _, *lines, _ = await chain.told()
    assert f"  receipt {same_place.receipt_id}: published for 2 000, the ledger has other content: 2 000" in lines[1]


async def test_a_receipt_published_twice_with_other_content_is_named_as_such(chain: Chain, number: str) -> None:
    sold = chain.sale(number, 1_000)
    await chain.publish(sold, chain.sale(number, 900, receipt=sold.receipt_id))
    await chain.hears()
    head, line, trouble = await chain.told()
    assert "the tills say 2 for 1 900, the ledger 1 for 1 000" in head
    assert line == (
        f"  receipt {sold.receipt_id}: was published more than once with other content; "
        "the ledger has the first that it heard"
    )
    assert trouble.startswith("1 difference ")


async def test_returns_are_held_against_the_ledger_too(chain: Chain, number: str) -> None:
    sold = chain.sale(number, 1_000, 2_000, 3_000, 4_000)
    back = [came_back(sold, {line: 1_000 * line}, return_id=f"b{line}-{uuid.uuid4()}") for line in (1, 2, 3, 4)]
    here, lost, extra, dead = back[0], back[1], back[2], _of_nothing(back[3])
    await chain.publish(sold, here, lost, dead)
    await chain.hears(losing=[lost])
    await chain.ledger.hear(extra)
    _, *lines, trouble = await chain.told()
    named = {line.split(": ")[0].strip(): line.split(": ", 1)[1] for line in lines}
    of_receipt = f"receipt {sold.receipt_id}, return "
    assert set(named) == {of_receipt + each.return_id for each in (lost, extra, dead)}
    assert named[of_receipt + lost.return_id].startswith("IS LOST")
    assert named[of_receipt + extra.return_id] == "is in the ledger, but no till published it"
    assert named[of_receipt + dead.return_id].startswith("is a dead letter (kept): unknown_line")
    assert trouble.startswith("3 differences")


def _of_nothing(back: PurchaseReturned) -> PurchaseReturned:
    (line,) = back.lines
    unknown = ReturnedLine(line_no=77, quantity=line.quantity, total_minor=line.total_minor)
    return back.model_copy(update={"lines": [unknown]})


async def test_a_record_of_those_days_that_is_no_purchase_is_named(chain: Chain, number: str) -> None:
    before = await ends(chain.kafka, [TOPIC])
    await chain.publish_rubbish(number)
    ((place, offset),) = [
        (tp.partition, at) for tp, at in before.items() if (await ends(chain.kafka, [TOPIC]))[tp] > at
    ]
    today = datetime.now(MOSCOW).date()
    lines = await chain.told_of(today - timedelta(days=1), today, store=chain.store)
    (line,) = [each for each in lines if each.startswith(f"record {place}:{offset} ")]
    assert line.startswith(f"record {place}:{offset} on the topic is no purchase: not_json (")


async def test_many_receipts_are_asked_for_page_by_page_and_piece_by_piece(chain: Chain, number: str) -> None:
    sold = [chain.sale(number, 1_000) for _ in range(230)]
    await chain.publish(*sold)
    await chain.hears(losing=sold[:15])
    _, *lines, trouble = await chain.told()
    assert {line.split()[1].rstrip(":") for line in lines} == {each.receipt_id for each in sold[:15]}
    assert trouble.startswith("15 differences")


async def test_a_list_of_the_tills_own_does_as_well(chain: Chain, number: str, tmp_path: Path) -> None:
    sold = [chain.sale(number, 1_000), chain.sale(number, 2_000), chain.sale(number, 3_000)]
    await chain.ledger.hear(*sold)
    listed = tmp_path / "receipts.csv"

    def write(*rows: tuple[str, int]) -> None:
        lines = [f"{receipt},{chain.store},{chain.day},{total}" for receipt, total in rows]
        listed.write_text("\n".join(["receipt_id,store_id,date,total_minor", *lines]), encoding="utf-8")

    write(*((each.receipt_id, each.total_minor) for each in sold))
    (line,) = await chain.told(listed_in=listed)
    assert line.startswith("The tills and the ledger agree: receipts 3")
    write((sold[0].receipt_id, 1_000), (sold[1].receipt_id, 3_000), ("r-nowhere", 2_000))
    _, *lines, trouble = await chain.told(listed_in=listed)
    assert [line.split(": ", 1)[1].split(",")[0] for line in lines] == [
        "published for 3 000",
        "is not in the ledger",
        "is in the ledger",
    ]
    assert trouble.startswith("3 differences")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("receipt_id,store_id,date\n", "there is no column total_minor"),
        ("receipt_id,store_id,date,total_minor\nr1,367,02.11.2025,5\n", "line 2: date is as 2025-11-02"),
        ("receipt_id,store_id,date,total_minor\nr1,367,2025-11-02,5.00\n", "line 2: date is as 2025-11-02"),
        (None, "cannot be read"),
    ],
)
async def test_a_list_that_is_none_is_told(chain: Chain, tmp_path: Path, content: str | None, told: str) -> None:
    listed = tmp_path / "receipts.csv"
    if content is not None:
        listed.write_text(content, encoding="utf-8")
    (trouble,) = await chain.told(listed_in=listed)
    assert told in trouble


async def test_the_command_takes_days_a_store_and_a_list(
    chain: Chain, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await chain.publish(chain.sale(number, 1_000))
    settings = RunSettings(loyalty_port=chain.api.loyalty_port, kafka=chain.kafka.bootstrap)
    monkeypatch.setattr(cli, "run_settings", lambda: settings)

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli.commands, ["loyalty", "reconcile", *words])

    found = await asyncio.to_thread(run, "--from", str(chain.day), "--to", str(chain.day), "--store", chain.store)
    assert "is not heard yet" in found.stdout
    assert "1 difference between" in str(found.exception)
    found = await asyncio.to_thread(run, "--from", str(chain.day), "--to", str(chain.day - timedelta(days=1)))
    assert "the last day lies before the first" in str(found.exception)
    found = await asyncio.to_thread(run, "--store", "367")
    assert "name the first day too" in str(found.exception)
