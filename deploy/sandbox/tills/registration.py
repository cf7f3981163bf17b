"""Registering households over the customers' API, as a till does when somebody takes a card; and their Telegram.

Purchases are published in any case: loyalty keeps those of a card that nobody knows yet. So whatever is wrong with an
API, the households wait here and are registered when it answers again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import httpx
import structlog

from deploy.sandbox.tills.households import Person, card_number, is_chosen, person
from deploy.sandbox.tills.status import Status
from deploy.sandbox.tills.words import _

log = structlog.get_logger()

FILE: Final = "households.txt"
AT_ONCE: Final = 4
TIMEOUT_S: Final = 10.0
PATIENCE_S: Final = (0.5, 1, 2, 3)
"""How long to wait after each failure in a row."""
REGISTERED: Final = "registered"
IN_TELEGRAM: Final = "in_telegram"


class Refused(Exception):
    """The API will not take this request however often it is sent."""


class Registrar:
    """Meets households; registers each once, and brings the chosen `share` of them into the sandbox's Telegram.

    `telegram` is None where a real bot is used: nobody can be invented there.
    """

    def __init__(
        self,
        folder: Path,
        status: Status,
        *,
        customers: httpx.AsyncClient,
        telegram: httpx.AsyncClient | None,
        share: float,
    ) -> None:
        self.file = folder / FILE
        self.status = status
        self.customers = customers
        self.telegram = telegram
        self.share = share
        self.done = self._remembered()
        self._met = {
            what: {household for done, household in self.done if done == what} for what in (REGISTERED, IN_TELEGRAM)
        }
        self._live = False
        self._invited: set[int] = set()
        self._waiting: dict[str, asyncio.Queue[int]] = {what: asyncio.Queue() for what in (REGISTERED, IN_TELEGRAM)}
        self._tell()

    def meet(self, household: int, *, live: bool) -> None:
        """The household was at a till.

        Nobody joins Telegram before the first live purchase, then all who were met so far; and each after the
        registration, which credits what waited for the card: nobody is to be told of what is long past.
        """
        self._want(REGISTERED, household)
        if live and not self._live:
            self._live = True
            for each in sorted(self._met[REGISTERED]):
                self._invite(each)
        if live:
            self._invite(household)

    def _invite(self, household: int) -> None:
        if self.telegram is not None and is_chosen(household, self.share):
            if (REGISTERED, household) in self.done:
                self._want(IN_TELEGRAM, household)
            else:
                self._invited.add(household)

    def _want(self, what: str, household: int) -> None:
        if household not in self._met[what]:
            self._met[what].add(household)
            self._waiting[what].put_nowait(household)
            self._tell()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as working:
            for _worker in range(AT_ONCE):
                working.create_task(self._work(REGISTERED, self._register))
                working.create_task(self._work(IN_TELEGRAM, self._join_telegram))

    async def _work(self, what: str, act: Callable[[int, Person], Awaitable[None]]) -> None:
        while True:
            household = await self._waiting[what].get()
            try:
                await self._persistently(act, household)
            except Refused as refused:
                self.status.problem(f"{what}: household {household}: {refused}")
                log.warning("household_refused", what=what, household=household, why=str(refused))
            else:
                self._remember(what, household)
                if household in self._invited:
                    self._invited.remove(household)
                    self._want(IN_TELEGRAM, household)
            self._tell()

    async def _persistently(self, act: Callable[[int, Person], Awaitable[None]], household: int) -> None:
        failures = 0
        while True:
            try:
                await act(household, person(household))
                return
            except httpx.HTTPError as error:
                self.status.problem(
                    _("{address} does not answer").format(address=error.request.url.netloc.decode("ascii"))
                )
                log.info("api_away", url=str(error.request.url), error=type(error).__name__)
                await asyncio.sleep(PATIENCE_S[min(failures, len(PATIENCE_S) - 1)])
                failures += 1

    async def _register(self, household: int, who: Person) -> None:
        """The same key at every try: whatever became of the first one, there is one customer."""
        card = card_number(household)
        form = {
            "phone": who.phone,
            "first_name": who.first_name,
            "last_name": who.last_name,
            "language": who.language,
            "time_zone": who.time_zone,
            "card_number": card,
        }
        headers = {"Idempotency-Key": f"sandbox-{card}", "Kopilka-Actor": "till:sandbox"}
        _taken(await self.customers.post("/customers", json=form, headers=headers))

    async def _join_telegram(self, _household: int, who: Person) -> None:
        """Get Telegram on this phone, start the bot and share the own contact; what is done already is left out."""
        assert self.telegram is not None
        names = {"first_name": who.first_name, "last_name": who.last_name, "language_code": who.language}
        chat = _taken(await self.telegram.post("/sandbox/persons", json={"phone": who.phone, **names})).json()
        if not chat["started"]:
            _taken(await self.telegram.post(f"/sandbox/persons/{chat['id']}/text", json={"text": "/start"}))
        _taken(await self.telegram.post(f"/sandbox/persons/{chat['id']}/contact"))

    def _tell(self) -> None:
        self.status.registered = sum(what == REGISTERED for what, _ in self.done)
        self.status.in_telegram = sum(what == IN_TELEGRAM for what, _ in self.done)
        self.status.waiting = self._waiting[REGISTERED].qsize()

    def _remember(self, what: str, household: int) -> None:
        self.done.add((what, household))
        with self.file.open("a", encoding="ascii") as file:
            file.write(f"{what} {household}\n")

    def _remembered(self) -> set[tuple[str, int]]:
        """A last line that was cut short by a kill counts for nothing: registering twice does no harm."""
        done = set()
        with contextlib.suppress(FileNotFoundError):
            for line in self.file.read_text(encoding="ascii").splitlines(keepends=True):
                what, _, household = line.partition(" ")
                if line.endswith("\n") and household.strip().isdigit():
                    done.add((what, int(household)))
        return done


def _taken(answer: httpx.Response) -> httpx.Response:
    """Raises HTTPStatusError for what may pass (busy, under way, away), `Refused` for what will not."""
    if answer.status_code in (408, 409, 425, 429) or answer.status_code >= 500:
        answer.raise_for_status()
    if answer.is_error:
        raise Refused(f"{answer.status_code} {answer.text[:300]}")
    return answer
