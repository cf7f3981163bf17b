"""Publishing what happens, batch after batch, at the set pace."""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import structlog

from chassis.publishing import NotPublished, Publisher
from deploy.sandbox.tills.afterwards import Shares
from deploy.sandbox.tills.dates import Pace, is_live
from deploy.sandbox.tills.happenings import Happening, happenings
from deploy.sandbox.tills.journal import Journal
from deploy.sandbox.tills.publications import publication
from deploy.sandbox.tills.registration import Registrar
from deploy.sandbox.tills.status import Status

log = structlog.get_logger()

SHORTEST_BEAT_S: Final = 0.1
TRY_AGAIN_S: Final = 2.0


class Tills:
    """All tills of the chain in one program. `clock` gives the moment; records are dated by it."""

    def __init__(
        self,
        journal: Journal,
        pace: Pace,
        shares: Shares,
        *,
        publisher: Publisher,
        registrar: Registrar,
        status: Status,
        folder: Path,
        clock: Callable[[], datetime],
        data: Path | None = None,
    ) -> None:
        self.journal = journal
        self.pace = pace
        self.publisher = publisher
        self.registrar = registrar
        self.status = status
        self.folder = folder
        self.clock = clock
        self._coming: Iterator[Happening] = happenings(journal.seed, shares, after=journal.place, folder=data)
        self._held: list[Happening] = []
        status.published = journal.published

    async def run(self, *, limit: int | None = None) -> None:
        """Publish until `limit` records are published in this process, or for ever.

        Cancelled at any moment, what was under way is published again by the next run, the same to the byte.
        """
        try:
            published = await self._finish_last_run()
            due_at = time.monotonic()
            while limit is None or published < limit:
                batch = self._next_batch(None if limit is None else limit - published)
                await self._publish(batch, self.pace.dates(batch, self.journal, self.clock()))
                published += len(batch)
                due_at = max(due_at + len(batch) / self._per_s(batch), time.monotonic() - SHORTEST_BEAT_S)
                await asyncio.sleep(max(0.0, due_at - time.monotonic()))
        finally:
            self.journal.close(self.folder)

    async def _finish_last_run(self) -> int:
        dates = self.journal.under_way
        if dates:
            await self._publish(self._take(len(dates)), dates)
        return len(dates)

    def _next_batch(self, at_most: int | None) -> list[Happening]:
        """What is due in one beat; history and live things never in one batch."""
        first = self._take(1)
        is_history = self.pace.is_history(first[0].place, self.journal)
        size = max(1, round(self._per_s(first) * SHORTEST_BEAT_S))
        batch = first + self._take((size if at_most is None else min(size, at_most)) - 1)
        other = [place for place, each in enumerate(batch) if self._is_history(each) != is_history]
        if other:
            self._held = batch[other[0] :] + self._held
            batch = batch[: other[0]]
        return batch

    def _take(self, count: int) -> list[Happening]:
        taken, self._held = self._held[:count], self._held[count:]
        return taken + list(islice(self._coming, count - len(taken)))

    def _is_history(self, happening: Happening) -> bool:
        return self.pace.is_history(happening.place, self.journal)

    def _per_s(self, batch: list[Happening]) -> float:
        return self.pace.history_per_s if self._is_history(batch[0]) else self.pace.per_s

    async def _publish(self, batch: list[Happening], dates: list[datetime]) -> None:
        publications = [publication(each, date, self.journal.run) for each, date in zip(batch, dates, strict=True)]
        self.journal.begin(dates, self.folder)
        while True:
            try:
                await self.publisher.publish_many(publications)
                break
            except NotPublished as error:
                self.status.problem(str(error))
                log.warning("not_published", why=str(error))
                await asyncio.sleep(TRY_AGAIN_S)
        self.journal.finish(batch[-1].place)
        self.status.say(len(batch), dates[-1], history=self._is_history(batch[0]))
        live = is_live(self.journal, self.clock())
        for happening in batch:
            self.registrar.meet(happening.basket.household, live=live)
