"""A customers service without a bus: called over HTTP as a till calls it, it hears records as they come off a topic."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
import sqlalchemy as sa

from chassis.database import Database, utc_now
from chassis.dead_letters import Cap
from chassis.delivery import Delivery, Item
from chassis.envelope import Heard
from chassis.http import build_app
from chassis.settings import Settings
from contracts.customers import Contact, LinkTelegram, UnlinkTelegram
from contracts.messaging import ContactWentBad
from contracts.records import BY_TYPE, Record
from services.customers.api import router
from services.customers.handlers import hears
from tests import off_the_bus

PHONE = "+79161234567"
SHOP, WEB = "+79160000001", "+79160000002"
Registered = dict[str, Any]
R = TypeVar("R", bound=Record)


class Customers:
    """One instance of the service; several share the database of their settings."""

    def __init__(self, settings: Settings) -> None:
        self.database = Database("customers", settings)
        self.delivery = Delivery("customers", hears, self.database, cap=Cap(1000, timedelta(days=1)))
        app = build_app(
            "customers",
            router,
            self.database,
            settings=settings,
            readiness=_ready,
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")

    async def post(self, path: str, json: object = None, *, key: str | None = None, **headers: str) -> httpx.Response:
        """With an Idempotency-Key of its own where none is given."""
        return await self.http.post(path, json=json, headers={"Idempotency-Key": key or str(uuid4())} | headers)

    async def register(self, phone: str = PHONE, **form: object) -> dict[str, Any]:
        """A customer who is new."""
        answer = await self.post("/customers", {"phone": phone, **form})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def get(self, customer: dict[str, Any]) -> dict[str, Any]:
        answer = await self.http.get(f"/customers/{customer['id']}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def found(self, **parameters: str) -> list[str]:
        """Ids of the customers on the first page."""
        answer = await self.http.get("/customers", params=parameters)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["items"]]

    async def hear(self, *items: Item) -> None:
        """One batch."""
        await self.delivery.deliver(items)

    async def said(self, kind: type[R], about: dict[str, Any] | None = None) -> list[R]:
        """What was ever said of the kind (of one customer), oldest first: no relay takes it away."""
        rows = await self.rows("SELECT topic, key, headers, value FROM outbox ORDER BY id")
        records = [
            off_the_bus.said(SimpleNamespace(**row))
            for row in rows
            if row["topic"] in {each.topic for each in BY_TYPE.values()}
        ]
        return [
            record
            for record in records
            if isinstance(record, kind) and (about is None or str(getattr(record, "customer_id", "")) == about["id"])
        ]

    async def everything_said(self) -> int:
        """How many records were ever said."""
        return int((await self.rows("SELECT count(*) AS said FROM outbox"))[0]["said"])

    async def contact(self, customer: dict[str, Any]) -> Contact:
        """The newest contact."""
        return (await self.said(Contact, customer))[-1]

    async def rows(self, statement: str, **values: object) -> Sequence[sa.RowMapping]:
        async with self.database.engine.connect() as connection:
            return (await connection.execute(sa.text(statement), values)).mappings().all()

    @contextlib.asynccontextmanager
    async def holding_back(self, statement: str, until_waiting: int) -> AsyncIterator[None]:
        """Run the locking statement, leave the block, and let go once so many others wait for a lock."""
        async with self.database.engine.connect() as connection, connection.begin():
            await connection.execute(sa.text(statement))
            yield
            async with asyncio.timeout(30):
                while await self._waiting(connection) < until_waiting:  # noqa: ASYNC110 (PostgreSQL has no event of it)
                    await asyncio.sleep(0.01)

    async def _waiting(self, connection: Any) -> int:
        """Backends of this database that wait for a lock; within a transaction they are counted once only."""
        await connection.execute(sa.text("SELECT pg_stat_clear_snapshot()"))
        return int((await connection.execute(sa.text(WAITING))).scalar_one())

    async def close(self) -> None:
        await self.http.aclose()
        await self.database.close()


WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
EVERY_CUSTOMER = "LOCK TABLE customers IN ACCESS EXCLUSIVE MODE"
OpenCustomers = Callable[[], Customers]


async def at_once(calls: Sequence[Coroutine[Any, Any, Any]], customers: Customers, blocked_by: str) -> list[Any]:
    """The answers of calls that all ran into one lock before any of them could go on."""
    async with asyncio.TaskGroup() as group, customers.holding_back(blocked_by, len(calls)):
        tasks = [group.create_task(call) for call in calls]
    return [task.result() for task in tasks]


def came(record: Record, *, at: datetime | None = None) -> Heard:
    """The record as the worker hands it over: an event of its own, said at that moment."""
    return off_the_bus.came(record, at or utc_now())


def link(phone: str = PHONE, chat_id: int = 100500, *, at: datetime | None = None, **names: str) -> Heard:
    """A contact shared with the bot."""
    return came(LinkTelegram.model_validate({"phone": phone, "telegram_chat_id": chat_id, **names}), at=at)


def minutes_ago(minutes: float) -> datetime:
    return utc_now() - timedelta(minutes=minutes)


def went_bad(customer_id: UUID, channel: str = "telegram", *, since: datetime | None = None) -> Heard:
    return came(
        ContactWentBad.model_validate(
            {"customer_id": customer_id, "channel": channel, "reason": "bot_blocked", "since": since or utc_now()}
        )
    )


def unlink(customer: dict[str, Any], chat_id: int, *, at: datetime | None = None) -> Heard:
    return came(UnlinkTelegram.model_validate({"customer_id": customer["id"], "telegram_chat_id": chat_id}), at=at)


async def two_records(customers: Customers) -> tuple[Registered, Registered]:
    """One person at the till and on the web."""
    anna = await customers.register(SHOP, first_name="Анна", card_number="7000001")
    other = await customers.register(WEB, last_name="Ёлкина", email="a@example.org", card_number="7000002")
    return anna, other


async def merge(customers: Customers, survivor: Registered, merged: Registered, **headers: str) -> httpx.Response:
    return await customers.post(f"/customers/{survivor['id']}/merges", {"merged_id": merged["id"]}, **headers)


async def undo(customers: Customers, survivor: Registered, merged: Registered, **headers: str) -> httpx.Response:
    return await customers.post(f"/customers/{survivor['id']}/merges/{merged['id']}/undo", **headers)


def phones(count: int) -> list[str]:
    return [f"+7916{number:07d}" for number in range(1_000_000, 1_000_000 + count)]


def row_of(customer: dict[str, Any]) -> str:
    """The statement that locks one customer."""
    return f"SELECT FROM customers WHERE id = '{customer['id']}' FOR UPDATE"


def fields_at_fault(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [each["field"] for each in answer.json()["errors"]]


def uuid_of(customer: dict[str, Any]) -> UUID:
    return UUID(customer["id"])


async def _ready() -> Sequence[str]:
    return []
