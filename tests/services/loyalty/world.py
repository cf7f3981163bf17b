"""Loyalty without a bus: it hears records as they come off a topic, and what it did and said is looked up."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import sqlalchemy as sa

from chassis.database import Clock, Database
from chassis.dead_letters import Cap
from chassis.delivery import Delivery
from chassis.envelope import Heard
from chassis.ids import new_id
from chassis.jobs import Job, run_job
from chassis.settings import Settings
from contracts.customers import Card
from contracts.fields import ean13_check_digit
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseLine, PurchaseReturned, ReturnedLine
from contracts.records import Record
from services.loyalty import reconciliation
from services.loyalty.expiry import expire_due_lots
from services.loyalty.handlers import hears
from services.loyalty.holds import release_timed_out
from services.loyalty.reconciliation import Difference
from tests import off_the_bus

NOW = datetime(2025, 11, 2, 12, tzinfo=UTC)
_numbers = itertools.count(1)


class Loyalty:
    """One instance of the service; its clock stands until `use_clock`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database("loyalty", settings, clock=lambda: NOW)
        self._batches = Database("loyalty", settings, clock=lambda: NOW, for_batches=True)
        self.delivery = Delivery("loyalty", hears, self._batches, cap=Cap(1000, timedelta(days=1)))

    def use_clock(self, clock: Clock) -> None:
        """From now on it is as late as the clock says."""
        self.database.clock = self._batches.clock = clock

    async def hear(self, *records: Record | Heard) -> None:
        """One batch; a record is an event of its own, even where the same was heard before."""
        heard = [each if isinstance(each, Heard) else off_the_bus.came(each, NOW) for each in records]
        await self.delivery.deliver(heard)

    async def knows(self, card: str, customer_id: UUID | None = None) -> UUID:
        """The card is introduced; gives its customer."""
        customer_id = customer_id or new_id()
        await self.hear(Card(card_number=card, customer_id=customer_id))
        return customer_id

    async def balance(self, customer_id: UUID) -> int:
        (row,) = await self.rows("SELECT balance FROM accounts WHERE customer_id = :id", id=customer_id)
        return int(row.balance)

    async def said(self, kind: type[Record]) -> list[Any]:
        """Everything of that kind that was ever said, oldest first: no relay takes it away."""
        rows = await self.rows("SELECT topic, key, headers, value FROM outbox ORDER BY id")
        return [record for record in map(off_the_bus.said, filter(_is_own, rows)) if isinstance(record, kind)]

    async def refused(self) -> list[str]:
        """The reasons of the dead letters, oldest first."""
        return [row.reason for row in await self.rows("SELECT reason FROM dead_letters ORDER BY id")]

    async def differences(self) -> list[Difference]:
        async with self.database.reading() as tx:
            return await reconciliation.differences(tx)

    async def expire(self) -> None:
        """Burn what has ended."""
        await run_job(Job(expire_due_lots, every=timedelta(days=1)), self.database)

    async def time_out_holds(self) -> None:
        """The time of all that is held is over."""
        await self.rows("UPDATE holds SET expires_at = :now WHERE state = 'held'", now=NOW)
        await run_job(Job(release_timed_out, every=timedelta(days=1)), self.database)

    async def set_terms(self, *, since: datetime = datetime(2000, 1, 2, tzinfo=UTC), **terms: Any) -> None:
        """From then on, or else from the beginning of time, the terms are these besides the newest ones."""
        (newest,) = await self.rows("SELECT rules FROM terms ORDER BY in_force_from DESC, id DESC LIMIT 1")
        await self.rows(
            "INSERT INTO terms (id, in_force_from, set_by, set_at, rules) "
            "VALUES (:id, :since, 'test', now(), CAST(:rules AS json))",
            id=new_id(),
            since=since,
            rules=orjson.dumps(newest.rules | terms).decode(),
        )

    async def rows(self, statement: str, **values: object) -> Sequence[sa.Row[Any]]:
        async with self.database.engine.begin() as connection:
            result = await connection.execute(sa.text(statement), values)
            return result.all() if result.returns_rows else []

    async def close(self) -> None:
        await self.database.close()
        await self._batches.close()


def _is_own(row: Any) -> bool:
    return not row.topic.endswith(".dlq")


def card() -> str:
    """A card that nobody has had yet."""
    number = f"291{next(_numbers):09d}"
    return number + ean13_check_digit(number)


def purchase(number: str | None, *totals_minor: int, receipt: str | None = None, **other: Any) -> PurchaseCompleted:
    """A purchase with a line for each total."""
    return PurchaseCompleted(
        **{
            "card_number": number,
            "receipt_id": receipt or f"r{next(_numbers)}",
            "store_id": "367",
            "terminal_id": "367-1",
            "completed_at": NOW - timedelta(hours=1),
            "currency": "RUB",
            "lines": [
                PurchaseLine(
                    line_no=line_no,
                    product_id=f"p{line_no}",
                    category="BREAD",
                    quantity="1",
                    amount_minor=total,
                    total_minor=total,
                )
                for line_no, total in enumerate(totals_minor, 1)
            ],
            "total_minor": sum(totals_minor),
        }
        | other
    )


def came_back(of: PurchaseCompleted, money: dict[int, int], **other: Any) -> PurchaseReturned:
    """A return of so much money by line."""
    return PurchaseReturned(
        **{
            "card_number": of.card_number,
            "return_id": f"b{next(_numbers)}",
            "receipt_id": of.receipt_id,
            "store_id": of.store_id,
            "terminal_id": of.terminal_id,
            "returned_at": NOW,
            "currency": of.currency,
            "lines": [
                ReturnedLine(line_no=line_no, quantity="1", total_minor=total) for line_no, total in money.items()
            ],
            "total_minor": sum(money.values()),
        }
        | other
    )


def cancelled(of: PurchaseCompleted) -> PurchaseCancelled:
    return PurchaseCancelled(
        card_number=of.card_number,
        receipt_id=of.receipt_id,
        store_id=of.store_id,
        terminal_id=of.terminal_id,
        cancelled_at=NOW,
    )


OLGA = {"Kopilka-Actor": "operator:olga"}


async def post(api: httpx.AsyncClient, path: str, **form: Any) -> httpx.Response:
    """What an operator sends."""
    headers = {"Idempotency-Key": str(uuid4()), **OLGA}
    asked = {"reason": "complaint", **form}
    return await api.post(path, json={k: v for k, v in asked.items() if k != "reason" or v}, headers=headers)


async def adjust(api: httpx.AsyncClient, customer_id: UUID, points: int, **form: Any) -> Any:
    """Points given or taken by hand."""
    answer = await post(api, f"/customers/{customer_id}/operations", points=points, **form)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def problem(answer: httpx.Response) -> tuple[int, str]:
    """Its status and the kind of problem."""
    return answer.status_code, answer.json()["type"].removeprefix("urn:kopilka:problem:")
