"""A messaging service without a bus: it hears records as they come off a topic, and what it says is looked up."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.database import Database
from chassis.dead_letters import Cap
from chassis.delivery import Delivery
from chassis.ids import new_id
from chassis.settings import Settings
from contracts.customers import Consent, Contact, ContactErased
from contracts.loyalty import PointsAccrued, PointsActivated, PointsAdjusted, PointsExpiring, PointsReturned
from contracts.messaging import SendMessage
from contracts.records import Record
from services.messaging.dispatcher import Dispatcher
from services.messaging.handlers import hears
from services.messaging.settings import MessagingSettings
from services.messaging.telegram import Telegram
from tests.harness import until
from tests.off_the_bus import came, said
from tests.services.messaging.bot_api import BotApi

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TOKEN = "8110:sandbox"
MOSCOW = ZoneInfo("Europe/Moscow")
FAST = {
    "telegram_messages_per_s": 2000.0,
    "telegram_chat_interval_s": 0.0,
    "telegram_timeout_s": 5.0,
    "telegram_lease_s": 30.0,
    "dispatch_poll_s": 0.02,
}
"""Settings without Telegram's pace, which a test asks for where it is about it."""

_chat_ids = itertools.count(1000)


class Messaging:
    """One instance of the service; several share the database of their settings. `ahead` moves its clock."""

    def __init__(self, settings: Settings) -> None:
        self.ahead = timedelta(0)
        self.database = Database("messaging", settings, clock=lambda: datetime.now(UTC) + self.ahead)
        self.delivery = Delivery("messaging", hears, self.database, cap=Cap(1000, timedelta(days=1)))

    async def hears(self, *records: Record, time: datetime | None = None) -> None:
        """One batch; each record is an event of its own, even where the same was heard before."""
        at = time or datetime.now(UTC) + self.ahead
        await self.delivery.deliver([came(record, at, traceparent=TRACE) for record in records])

    def be_in_moscow_at(self, hour: int) -> datetime:
        """The clock stands before that hour of tomorrow, and goes on from there."""
        tomorrow = (datetime.now(MOSCOW) + timedelta(days=1)).replace(hour=hour, minute=0, second=0, microsecond=0)
        self.ahead = tomorrow - datetime.now(UTC)
        return tomorrow

    async def customer(self, *, language: str = "ru", advertising: bool = False, chat: bool = True) -> Contact:
        """A customer who is known from now on."""
        known = contact(new_id(), language=language, advertising=advertising, chat=chat)
        await self.hears(known)
        return known

    @contextlib.asynccontextmanager
    async def dispatching(self, api: BotApi | str, **rules: float | str) -> AsyncIterator[Dispatcher]:
        """A dispatcher beside the worker, until the end of the block; stopped cleanly."""
        url = api if isinstance(api, str) else api.url
        told = MessagingSettings().model_copy(update={**FAST, "telegram_api": url, **rules})
        stop = asyncio.Event()
        async with Telegram(url, TOKEN, timeout_s=told.telegram_timeout_s) as telegram:
            dispatcher = Dispatcher(self.database, telegram, told)
            running = asyncio.create_task(dispatcher.run(stop))
            try:
                yield dispatcher
            finally:
                stop.set()
                await running

    async def rows(self, statement: str, *arguments: object) -> Sequence[Any]:
        async with self.database.reading() as tx:
            return await tx.sql(statement, *arguments)

    async def messages(self, customer_id: UUID | None = None) -> Sequence[Any]:
        """All messages, or one customer's, in the order of their turns."""
        mine = "WHERE customer_id = $1 " if customer_id is not None else ""
        arguments = () if customer_id is None else (customer_id,)
        return await self.rows(f"SELECT * FROM messages {mine}ORDER BY turn", *arguments)

    async def message(self, customer_id: UUID) -> Any:
        (row,) = await self.messages(customer_id)
        return row

    async def until(self, is_so: Callable[[Sequence[Any]], bool], *, what: str, within_s: float = 60) -> None:
        """Wait for something to be so of the messages."""

        async def so() -> bool:
            return is_so(await self.messages())

        await until(so, what=what, within_s=within_s)

    async def until_status(self, status: str, *, within_s: float = 60) -> None:
        """Wait until there are messages and each has that status."""

        def all_have_it(messages: Sequence[Any]) -> bool:
            return bool(messages) and all(message.status == status for message in messages)

        await self.until(all_have_it, what=f"every message is {status}", within_s=within_s)

    async def said(self) -> list[Record]:
        """Everything that was ever said, oldest first: no relay takes it away."""
        return [said(row) for row in await self.outbox() if not row.topic.endswith(".dlq")]

    async def said_of(self, customer_id: UUID) -> list[str]:
        """The kinds of what was said of a customer's messages, oldest first."""
        return [type(each).__name__ for each in await self.said() if each.key == str(customer_id)]

    async def outbox(self) -> Sequence[Any]:
        return await self.rows("SELECT * FROM outbox ORDER BY id")

    async def dead_letters(self) -> list[tuple[str, str]]:
        """Reason and detail of each, oldest first."""
        rows = await self.rows("SELECT reason, detail FROM dead_letters ORDER BY died_at, id")
        return [(row.reason, row.detail) for row in rows]

    async def close(self) -> None:
        await self.database.close()


Open = Callable[[], Messaging]


def contact(
    customer_id: UUID,
    *,
    language: str = "ru",
    advertising: bool = False,
    chat: bool | int = True,
    reachable: bool = True,
) -> Contact:
    chat_id = (next(_chat_ids) if chat is True else chat) or None
    consents = [Consent(channel="telegram", given_at=datetime(2025, 11, 2, tzinfo=UTC))] if advertising else []
    return Contact.model_validate(
        {
            "customer_id": customer_id,
            "first_name": "Анна",
            "phone": "+79161234567",
            "telegram_chat_id": chat_id,
            "language": language,
            "consents": consents,
            "unreachable": [] if reachable else ["telegram"],
        }
    )


def erased(known: Contact) -> ContactErased:
    return ContactErased(customer_id=known.customer_id)


def accrued(known: Contact | UUID, points: int = 57, *, balance: int = 204, total_minor: int = 114000) -> PointsAccrued:
    return PointsAccrued(
        operation_id=new_id(),
        customer_id=known if isinstance(known, UUID) else known.customer_id,
        account_id=new_id(),
        points_currency="points",
        balance_after=balance,
        points=points,
        receipt_id="367-04-2025-11-02-000117",
        store_id="367",
        terminal_id="367-04",
        completed_at=datetime(2025, 11, 2, 12, tzinfo=UTC),
        currency="RUB",
        total_minor=total_minor,
    )


def returned(known: Contact, points: int = 12, *, cause: str = "return") -> PointsReturned:
    return PointsReturned.model_validate(
        {
            "operation_id": new_id(),
            "customer_id": known.customer_id,
            "account_id": new_id(),
            "points_currency": "points",
            "balance_after": 192,
            "points": points,
            "cause": cause,
            "return_id": "R-1",
            "receipt_id": "367-04-2025-11-02-000117",
            "store_id": "367",
            "returned_at": datetime(2025, 11, 3, 12, tzinfo=UTC),
            "currency": "RUB",
            "total_minor": 24000,
        }
    )


def expiring(known: Contact, points: int = 30, *, at: datetime) -> PointsExpiring:
    return PointsExpiring(**of_account(known), points=points, expires_at=at, available=204)


def activated(known: Contact, points: int = 57) -> PointsActivated:
    return PointsActivated(**of_account(known), points=points, activated_at=datetime.now(UTC), available_after=204)


def adjusted(known: Contact, points: int, **other: Any) -> PointsAdjusted:
    """By hand, unless said otherwise."""
    by_hand = {"reason": "complaint", "actor": "operator:anna", "adjusted_at": datetime.now(UTC)}
    return PointsAdjusted.model_validate({**of_operation(known), "points": points, **by_hand, **other})


def of_account(known: Contact) -> dict[str, Any]:
    return {"customer_id": known.customer_id, "account_id": new_id(), "points_currency": "points"}


def of_operation(known: Contact) -> dict[str, Any]:
    return {**of_account(known), "operation_id": new_id(), "balance_after": 304, "available_after": 204}


def asked(known: Contact, **other: Any) -> SendMessage:
    """The NPS question, unless said otherwise."""
    return SendMessage.model_validate(
        {
            "message_key": f"nps:{new_id()}",
            "customer_id": known.customer_id,
            "template": "nps_question",
            "parameters": {"store_id": "367", "receipt_id": "R-1", "total_minor": 114000, "currency": "RUB"},
            "purpose": "service",
            **other,
        }
    )


def chat_of(known: Contact) -> int:
    assert known.telegram_chat_id is not None
    return known.telegram_chat_id
