"""How far the tills have got, kept on the disk: a second run goes on where the first one stopped.

Before a batch is published its dates are written down. If the process is killed meanwhile, the next run publishes the
same records with the same event ids again, and whoever heard them already does nothing.
"""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from pydantic import AwareDatetime, BaseModel, ValidationError

from deploy.sandbox.tills.happenings import BEGINNING, Place
from deploy.sandbox.tills.words import _
from deploy.trouble import Trouble

FILE: Final = "tills.json"


class Journal(BaseModel):
    """What is on the disk. `done` is the last place that is published; `under_way` are the dates of those after it."""

    seed: int
    began_at: AwareDatetime
    starts_on: AwareDatetime
    """The date of the first receipt."""
    done: tuple[int, AwareDatetime, int, int] = BEGINNING
    last_date: AwareDatetime
    under_way: list[AwareDatetime] = []
    published: int = 0

    @classmethod
    def begun(cls, seed: int, began_at: datetime, starts_on: datetime) -> Self:
        """A new one, of a run that begins now."""
        return cls(seed=seed, began_at=began_at, starts_on=starts_on, last_date=starts_on)

    @classmethod
    def found(cls, folder: Path) -> Self | None:
        """The one of the last run, if there was one. Raises Trouble where it cannot be read."""
        path = folder / FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise Trouble(
                _("{path} cannot be read; remove it, and the tills begin a new run").format(path=path)
            ) from error

    @property
    def place(self) -> Place:
        return Place(*self.done)

    @property
    def run(self) -> str:
        """The name of this run in the ids of its receipts."""
        return f"{self.began_at:%y%m%d%H%M%S}"

    def begin(self, dates: Sequence[datetime], folder: Path) -> None:
        """A batch with these dates is published next."""
        self.under_way = list(dates)
        self._keep(folder)

    def finish(self, place: Place) -> None:
        """The batch is published, up to that place. On the disk with the next one, or by `close`."""
        self.done = place
        self.published += len(self.under_way)
        self.last_date = self.under_way[-1]
        self.under_way = []

    def close(self, folder: Path) -> None:
        """Nothing more is published in this process."""
        self._keep(folder)

    def _keep(self, folder: Path) -> None:
        new = folder / f"{FILE}.new"
        with new.open("wb") as file:
            file.write(self.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / FILE)
