"""The sandbox's tills: publish real receipts at a set pace, and register the households that bought."""

import asyncio
import contextlib
import fcntl
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer
import uvloop

from chassis.logs import configure_logs
from chassis.publishing import Publisher
from chassis.settings import settings
from deploy.sandbox.tills.afterwards import Shares
from deploy.sandbox.tills.dates import Pace
from deploy.sandbox.tills.journal import Journal
from deploy.sandbox.tills.publishing import Tills
from deploy.sandbox.tills.registration import TIMEOUT_S, Registrar
from deploy.sandbox.tills.status import Status
from deploy.sandbox.tills.words import _
from deploy.settings import RunSettings, run_settings
from deploy.trouble import Trouble

HISTORY: Final = timedelta(days=28)
LINE_EVERY_S: Final = 10
FILE_EVERY_S: Final = 1


def run(
    rate: Annotated[float, typer.Option(min=0.01, help=_("Receipts a second."))] = 5,
    speed: Annotated[
        float,
        typer.Option(
            min=0.01,
            help=_(
                "How fast the receipts' dates go until they are those of the clock. 1: what lies before the first "
                "run is published at once, then everything is dated now."
            ),
        ),
    ] = 1,
    start: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help=_("Date of the first receipt; by default 28 days before the first run.")
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help=_("Stop after so many records."))] = None,
    history_rate: Annotated[
        float, typer.Option(min=0.01, help=_("Receipts a second of what lies before the first run."))
    ] = 300,
    seed: Annotated[int, typer.Option(help=_("Another seed, other returns and cancellations."))] = 1,
    returns: Annotated[float, typer.Option(min=0, max=1, help=_("Share of purchases that are returned."))] = 0.03,
    cancellations: Annotated[
        float, typer.Option(min=0, max=1, help=_("Share of purchases that are cancelled."))
    ] = 0.005,
    telegram: Annotated[
        float, typer.Option(min=0, max=1, help=_("Share of households that use the sandbox's Telegram."))
    ] = 0.1,
) -> None:
    """Publish until SIGTERM, SIGINT or the limit; the next run goes on where this one stopped."""
    quiet = {} if "log_level" in settings().model_fields_set else {"log_level": "warning"}
    configure_logs("tills", settings().model_copy(update=quiet))
    try:
        folder = run_settings().home / "sandbox"
        with _alone(folder):
            tills_of = _journal(folder, seed, start)
            pace = Pace(rate, speed, history_rate)
            shares = Shares(returns, cancellations)
            with contextlib.suppress(asyncio.CancelledError):
                uvloop.run(_run(run_settings(), folder, tills_of, pace, shares, limit=limit, telegram=telegram))
    except Trouble as trouble:
        sys.exit(f"tills: {trouble}")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two programs that publish the same run would get into each other's way."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tills.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(
                _("they run already in {folder}; stop those, or choose another folder with KOPILKA_HOME").format(
                    folder=folder
                )
            ) from None
        yield


def _journal(folder: Path, seed: int, start: datetime | None) -> Journal:
    """The last run's, with its own seed and start; a new one where there was none."""
    found = Journal.found(folder)
    if found is not None:
        print(_("going on with the run that began on {date}").format(date=f"{found.began_at:%Y-%m-%d}"), flush=True)
        return found
    now = datetime.now(UTC).replace(microsecond=0)
    starts_on = start.replace(tzinfo=UTC) if start is not None else now - HISTORY
    if starts_on > now:
        raise Trouble(_("--start {date} lies in the future; no receipt may").format(date=f"{starts_on:%Y-%m-%d}"))
    return Journal.begun(seed, now, starts_on)


async def _run(
    where: RunSettings,
    folder: Path,
    journal: Journal,
    pace: Pace,
    shares: Shares,
    *,
    limit: int | None,
    telegram: float,
) -> None:
    _cancelled_by_signals()
    status = Status()
    token = where.of_services.api_token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        Publisher(where.bootstrap, client_id="kopilka-sandbox-tills") as publisher,
        httpx.AsyncClient(
            base_url=where.url("customers"), headers=headers, timeout=TIMEOUT_S, trust_env=False
        ) as customers,
        httpx.AsyncClient(base_url=where.url("chat"), timeout=TIMEOUT_S, trust_env=False) as chat,
    ):
        registrar = Registrar(
            folder, status, customers=customers, telegram=None if where.telegram_token else chat, share=telegram
        )
        tills = Tills(
            journal,
            pace,
            shares,
            publisher=publisher,
            registrar=registrar,
            status=status,
            folder=folder,
            clock=lambda: datetime.now(UTC),
        )
        try:
            async with asyncio.TaskGroup() as working:
                beside = [working.create_task(registrar.run()), working.create_task(_tell(status, folder))]
                await tills.run(limit=limit)
                for task in beside:
                    task.cancel()
        finally:
            status.keep(folder)
            print(status.line(), flush=True)


async def _tell(status: Status, folder: Path) -> None:
    beats = 0
    while True:
        status.keep(folder)
        if beats % LINE_EVERY_S == 0:
            print(status.line(), flush=True)
        beats += FILE_EVERY_S
        await asyncio.sleep(FILE_EVERY_S)


def _cancelled_by_signals() -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, task.cancel)


if __name__ == "__main__":
    typer.run(run)
