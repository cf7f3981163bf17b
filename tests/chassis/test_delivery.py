"""Delivering a batch: all of it once, in order, and no bad record costs its neighbours anything."""

import re
from collections.abc import Sequence

import asyncpg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from chassis.dead_letters import CapReached, DeadLetter
from chassis.delivery import Item
from chassis.envelope import Unprocessable
from chassis.ids import new_id
from chassis.transaction import Transaction
from contracts.purchases import PurchaseCancelled, PurchaseReturned, ReturnedLine
from tests.chassis.conftest import OpenDatabase
from tests.chassis.delivery_world import BookService, book, deadlock, for_ever, metadata
from tests.chassis.purchase_records import NOW, cancelled, heard, raw_of

DEAD_LETTERS = "pos.purchases.loyalty.dlq"
EVENTS = "feedback.events"


@pytest.fixture
async def service(open_database: OpenDatabase) -> BookService:
    return BookService(await open_database(metadata))


def batch(*receipt_ids: str) -> list[Item]:
    return [heard(cancelled(receipt_id), offset=offset) for offset, receipt_id in enumerate(receipt_ids)]


def returned(receipt_id: str, card_number: str) -> PurchaseReturned:
    return PurchaseReturned(
        card_number=card_number,
        return_id=f"back-{receipt_id}",
        receipt_id=receipt_id,
        store_id="367",
        terminal_id="367-04",
        returned_at=NOW,
        currency="RUB",
        lines=[ReturnedLine(line_no=1, quantity="1", total_minor=100)],
        total_minor=100,
    )


def undecodable(offset: int) -> DeadLetter:
    return DeadLetter(raw_of(cancelled(), value=b"{", offset=offset), Unprocessable("not_json", "value: is not JSON"))


async def test_a_batch_is_one_call_and_one_transaction_with_its_outbox(service: BookService) -> None:
    await service.delivery.deliver([*batch("a", "b", "c"), undecodable(3)])
    assert service.calls == [3]
    assert await service.entered() == ["a", "b", "c"]
    assert await service.said() == [EVENTS] * 3 + [DEAD_LETTERS]
    assert await service.dead() == [(3, "not_json")]
    async with service.database.reading() as tx:
        writers = await tx.sql("SELECT DISTINCT xmin::text FROM outbox UNION SELECT DISTINCT transaction FROM book")
    assert len(writers) == 1


async def test_a_batch_delivered_again_changes_nothing(service: BookService) -> None:
    items = [*batch("a", "refused", "b"), undecodable(3)]
    for _ in range(3):
        await service.delivery.deliver(items)
    assert await service.entered() == ["a", "b"]
    assert await service.dead() == [(1, "impossible"), (3, "not_json")]
    assert await service.said() == [EVENTS] * 2 + [DEAD_LETTERS] * 2


async def test_what_kills_a_record_is_said_by_its_class_and_our_own_line(service: BookService) -> None:
    async def divide(_: object, tx: Transaction) -> None:
        await tx.sql("SELECT 1 / (length($1) - length($1))", "Anna +79161234567")

    service.hears.handlers.clear()
    service.hears.many(type(cancelled()))(divide)
    await service.delivery.deliver(batch("a"))
    async with service.database.reading() as tx:
        ((detail,),) = await tx.sql("SELECT detail FROM dead_letters")
    assert re.fullmatch(r"DivisionByZeroError \(SQLSTATE 22012\) at .*/chassis/transaction.py:\d+ in sql", detail)


async def test_a_record_that_fails_dies_alone_and_the_others_keep_their_order(service: BookService) -> None:
    service.fails["r21"] = for_ever(KeyError("Anna +79161234567"))
    with capture_logs() as logs:
        await service.delivery.deliver(batch(*(f"r{number}" for number in range(50))))
    assert await service.entered() == [f"r{number}" for number in range(50) if number != 21]
    assert await service.dead() == [(21, "failed")]
    async with service.database.reading() as tx:
        (detail,) = (await tx.sql("SELECT detail FROM dead_letters"))[0]
    assert detail.startswith("KeyError at ")
    assert "delivery_world.py" in detail
    assert "Anna" not in detail + repr(logs)
    assert "record_failed" in [line["event"] for line in logs]


async def test_several_that_fail_die_each_once_however_often_they_come(service: BookService) -> None:
    failing = [0, 7, 8, 31]
    items = batch(*(f"r{number}" for number in range(32)))
    for _ in range(2):
        service.fails = {f"r{number}": for_ever(ValueError()) for number in failing}
        await service.delivery.deliver(items)
    assert await service.entered() == [f"r{number}" for number in range(32) if number not in failing]
    assert await service.dead() == [(number, "failed") for number in failing]
    assert (await service.said()).count(DEAD_LETTERS) == len(failing)


async def test_what_postgres_says_of_one_record_kills_that_record_alone(service: BookService) -> None:
    service.hears.handlers.clear()

    @service.hears(PurchaseReturned)
    async def overflowing(event: PurchaseReturned, tx: object) -> None:
        number = 2**63 if event.receipt_id == "b" else 1
        await service._enter(tx, [event])  # type: ignore[arg-type]
        await tx.sql("SELECT $1::bigint", number)  # type: ignore[attr-defined]

    await service.delivery.deliver([heard(returned(each, "29000000"), offset=ord(each)) for each in "abc"])
    assert await service.entered() == ["a", "c"]
    assert await service.dead() == [(ord("b"), "failed")]


async def test_a_record_that_lost_a_race_is_tried_once_more(service: BookService) -> None:
    service.fails["a"] = [RuntimeError("lost a race")]
    await service.delivery.deliver(batch("a"))
    assert await service.entered() == ["a"]
    assert await service.dead() == []


@pytest.mark.parametrize("trouble", [deadlock(), ConnectionResetError(), TimeoutError()], ids=repr)
async def test_trouble_of_the_infrastructure_is_the_callers_and_nobody_dies_of_it(
    service: BookService, trouble: Exception
) -> None:
    items = batch("a", "b", "c")
    service.fails["b"] = [trouble]
    with pytest.raises(type(trouble)):
        await service.delivery.deliver(items)
    assert await service.entered() == []
    await service.delivery.deliver(items)
    assert await service.entered() == ["a", "b", "c"]
    assert await service.dead() == []


async def test_trouble_while_the_batch_is_halved_kills_nobody_either(service: BookService) -> None:
    items = batch("a", "b", "c", "d")
    service.fails["c"] = [ValueError(), ValueError(), deadlock()]
    with pytest.raises(type(deadlock())):
        await service.delivery.deliver(items)
    service.fails["c"] = for_ever(ValueError())
    await service.delivery.deliver(items)
    assert await service.entered() == ["a", "b", "d"]
    assert await service.dead() == [(2, "failed")]


async def test_a_connection_that_ends_in_the_middle_is_trouble_and_leaves_nothing(service: BookService) -> None:
    items = batch("a", "b")
    service.hears.handlers.clear()
    cuts = [True]

    async def cancelled_on_a_cut_connection(events: object, tx: object) -> None:
        await service._enter(tx, events)  # type: ignore[arg-type]
        if cuts and cuts.pop():
            await tx.sql("SELECT pg_terminate_backend(pg_backend_pid())")  # type: ignore[attr-defined]

    service.hears.many(type(cancelled()))(cancelled_on_a_cut_connection)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await service.delivery.deliver(items)
    assert await service.entered() == []
    await service.delivery.deliver(items)
    assert await service.entered() == ["a", "b"]


@pytest.mark.parametrize("natively", [True, False])
async def test_a_value_that_a_column_has_no_room_for_is_the_records_fault(
    service: BookService, *, natively: bool
) -> None:
    service.hears.handlers.clear()

    async def too_large_for_b(events: Sequence[PurchaseCancelled], tx: Transaction) -> None:
        number = 2**31 if any(each.receipt_id == "b" for each in events) else 1
        if natively:
            await tx.sql("SELECT $1::int", number)
        else:
            await tx.execute(sa.select(sa.literal(number, sa.Integer)))
        await service._enter(tx, events)

    service.hears.many(PurchaseCancelled)(too_large_for_b)
    await service.delivery.deliver(batch("a", "b", "c"))
    assert await service.entered() == ["a", "c"]
    assert await service.dead() == [(1, "failed")]


async def test_a_refused_record_is_heard_anew_when_it_is_replayed(service: BookService) -> None:
    event_id = new_id()
    await service.delivery.deliver([heard(cancelled("refused"), event_id=event_id, offset=1)])
    service.refuses = False
    await service.delivery.deliver([heard(cancelled("refused"), event_id=event_id, offset=2)])
    assert await service.entered() == ["refused"]


async def test_a_reused_event_id_dies_and_stays_taken(service: BookService) -> None:
    event_id = new_id()
    first = heard(cancelled("a"), event_id=event_id, offset=1)
    other = heard(cancelled("b"), event_id=event_id, offset=2)
    for items in ([first], [other], [first, other], [other]):
        await service.delivery.deliver(items)
    assert await service.entered() == ["a"]
    assert await service.dead() == [(2, "event_id_reused")]


async def test_types_take_turns_so_that_each_cards_order_is_kept(service: BookService) -> None:
    records = [
        cancelled("1", card_number="2900"),
        returned("2", "2900"),
        cancelled("3", card_number="2901"),
        cancelled("4", card_number="2900"),
        returned("5", "2901"),
        cancelled("6", card_number="2901"),
    ]
    await service.delivery.deliver([heard(each, offset=offset) for offset, each in enumerate(records)])
    async with service.database.reading() as tx:
        rows = (await tx.execute(sa.select(book).order_by(book.c.place))).all()
    assert [row.receipt_id for row in rows if row.card_number == "2900"] == ["1", "2", "4"]
    assert [row.receipt_id for row in rows if row.card_number == "2901"] == ["3", "5", "6"]
    assert sorted(service.calls) == [1, 1, 2, 2]


async def test_over_the_cap_nothing_of_the_batch_is_done(open_database: OpenDatabase) -> None:
    service = BookService(await open_database(metadata), most_dead=2)
    await service.delivery.deliver(batch("a", "refused-1"))
    with pytest.raises(CapReached):
        await service.delivery.deliver(
            [heard(cancelled(name), offset=9 + len(name)) for name in ("b", "refused-2", "refused-30")]
        )
    assert await service.entered() == ["a"]
    assert await service.dead() == [(1, "impossible")]
    assert (await service.said()).count(DEAD_LETTERS) == 1


async def test_the_cap_holds_for_records_that_fail_one_by_one(open_database: OpenDatabase) -> None:
    service = BookService(await open_database(metadata), most_dead=3)
    service.fails = {f"r{number}": for_ever(ValueError()) for number in range(20)}
    with pytest.raises(CapReached):
        await service.delivery.deliver(batch(*service.fails))
    assert await service.dead() == [(0, "failed"), (1, "failed"), (2, "failed")]


async def test_dead_letters_that_are_known_do_not_count_against_the_cap(open_database: OpenDatabase) -> None:
    service = BookService(await open_database(metadata), most_dead=2)
    items = batch("refused-1", "a", "refused-2")
    await service.delivery.deliver(items)
    await service.delivery.deliver(items)
    assert await service.entered() == ["a"]
