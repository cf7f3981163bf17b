"""A feedback service without a bus, with the sandbox's Telegram: it hears records as they come off a topic."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx

import services.feedback
from chassis.database import Database
from chassis.dead_letters import Cap
from chassis.delivery import Delivery
from chassis.http import build_app
from chassis.ids import new_id
from chassis.settings import Settings
from contracts.customers import Contact, LinkTelegram
from contracts.fields import Channel, Language
from contracts.loyalty import Balance, CurrencyBalance, PointsAccrued
from contracts.messaging import SendMessage
from contracts.records import Record
from services.feedback.api import router
from services.feedback.handlers import hears
from services.feedback.settings import FeedbackSettings
from services.feedback.telegram_poll import Poller
from tests.harness import until
from tests.off_the_bus import came, said
from tests.telegram_sandbox import PersonAtPhone, RunningSandbox

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
R = TypeVar("R", bound=Record)

_numbers = itertools.count(1)


class Feedback:
    """One instance of the service; several share the database of their settings. `ahead` moves its clock."""

    def __init__(self, settings: Settings, sandbox: RunningSandbox) -> None:
        self.ahead = timedelta(0)
        self.settings = settings
        self.sandbox = sandbox
        self.database = Database("feedback", settings, clock=self.now)
        self.delivery = Delivery("feedback", hears, self.database, cap=Cap(1000, timedelta(days=1)))

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def hears(self, *records: Record, time: datetime | None = None) -> None:
        """One batch; each record is an event of its own, even where the same was heard before."""
        at = time or self.now()
        await self.delivery.deliver([came(record, at, traceparent=TRACE) for record in records])

    @contextlib.asynccontextmanager
    async def polling(self, **rules: float | str) -> AsyncIterator[None]:
        """The bot, until the end of the block; stopped cleanly."""
        told = {"telegram_poll_lease_s": 2, "telegram_api": self.sandbox.url, **rules}
        stop = asyncio.Event()
        poller = Poller(self.database, FeedbackSettings(**told))  # type: ignore[arg-type]
        running = asyncio.create_task(poller.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running

    @contextlib.asynccontextmanager
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        """The service's HTTP API."""

        async def ready() -> Sequence[str]:
            return []

        app = build_app(
            "feedback",
            router,
            self.database,
            settings=Settings(),
            readiness=ready,
            texts=Path(services.feedback.__file__).parent,
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client

    async def linked(
        self, person: PersonAtPhone, customer_id: UUID | None = None, *, unreachable: Sequence[Channel] = ()
    ) -> UUID:
        """The person's chat is a customer's from now on, as customers says."""
        customer_id = customer_id or new_id()
        await self.hears(contact(customer_id, person.id, unreachable=unreachable))
        return customer_id

    async def asked(self, customer_id: UUID, **purchase: Any) -> SendMessage:
        """The customer bought something and is asked about it, in the chat as well: here the test plays messaging."""
        known = len(await self.said(SendMessage))
        await self.hears(accrued(customer_id, **purchase))
        question = (await self.said(SendMessage))[known]
        chat_id = await self.value("SELECT chat_id FROM customers WHERE customer_id = $1", customer_id)
        rows = [[{"text": button.label, "callback_data": button.data} for button in row] for row in question.buttons]
        answer = await self.sandbox.http.post(
            f"/bot{self.sandbox.token}/sendMessage",
            json={"chat_id": chat_id, "text": "How likely?", "reply_markup": {"inline_keyboard": rows}},
        )
        answer.raise_for_status()
        return question

    async def rows(self, statement: str, *arguments: object) -> Sequence[Any]:
        async with self.database.reading() as tx:
            return await tx.sql(statement, *arguments)

    async def value(self, statement: str, *arguments: object) -> Any:
        ((value,),) = await self.rows(statement, *arguments)
        return value

    async def everything_said(self) -> list[Record]:
        """Everything that was ever said, oldest first: no relay takes it away."""
        rows = await self.rows("SELECT * FROM outbox ORDER BY id")
        return [said(row) for row in rows if not row.topic.endswith(".dlq")]

    async def said(self, kind: type[R]) -> list[R]:
        return [record for record in await self.everything_said() if isinstance(record, kind)]

    async def kinds_said(self) -> list[str]:
        return [type(record).__name__ for record in await self.everything_said()]

    async def until_said(self, kind: type[R], count: int = 1, *, within_s: float = 20) -> list[R]:
        """Wait until so many of that kind were said."""

        async def enough() -> bool:
            return len(await self.said(kind)) >= count

        await until(enough, what=f"{count} {kind.__name__} said", within_s=within_s)
        return await self.said(kind)

    async def until_rows(self, statement: str, *arguments: object, within_s: float = 20) -> Sequence[Any]:
        """Wait until the query finds something."""

        async def found() -> bool:
            return bool(await self.rows(statement, *arguments))

        await until(found, what=statement, within_s=within_s)
        return await self.rows(statement, *arguments)

    async def until_all_is_handled(self) -> None:
        """Wait until no update waits at Telegram and no line waits here."""

        async def handled() -> bool:
            return not len(self.sandbox.sandbox.world.updates) and not await self.value("SELECT count(*) FROM outgoing")

        await until(handled, what="no update and no line waits")

    async def close(self) -> None:
        await self.database.close()


OpenFeedback = Callable[[], Feedback]


def contact(
    customer_id: UUID, chat_id: int | None, *, language: Language = "ru", unreachable: Sequence[Channel] = ()
) -> Contact:
    return Contact(
        customer_id=customer_id,
        first_name="Анна",
        phone="+79161234567",
        telegram_chat_id=chat_id,
        language=language,
        unreachable=list(unreachable),
    )


def balance(customer_id: UUID, points: int, *, as_of: datetime | None = None, **others: int) -> Balance:
    currencies = {"points": points, **others}
    return Balance(
        customer_id=customer_id,
        balances=[CurrencyBalance(points_currency=code, available=amount) for code, amount in currencies.items()],
        as_of=as_of or datetime.now(UTC),
    )


def accrued(customer_id: UUID, *, receipt_id: str | None = None, store_id: str = "367") -> PointsAccrued:
    return PointsAccrued(
        operation_id=new_id(),
        customer_id=customer_id,
        account_id=new_id(),
        points_currency="points",
        balance_after=204,
        points=57,
        receipt_id=receipt_id or f"{store_id}-{next(_numbers)}",
        store_id=store_id,
        terminal_id=f"{store_id}-04",
        completed_at=datetime(2017, 11, 2, 12, tzinfo=UTC),
        currency="RUB",
        total_minor=114_000,
    )


def link_of(person: PersonAtPhone, commands: Sequence[LinkTelegram]) -> LinkTelegram:
    """What customers was asked for this chat last."""
    return [command for command in commands if command.telegram_chat_id == person.id][-1]
