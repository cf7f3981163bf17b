"""The operator's command: `kopilka run | status | topics | tail | dead-letters | customer | loyalty |
terminals`."""

import asyncio
import errno
import logging
import sys
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import structlog
import typer
from rich.console import Console

from deploy import customer_card, dead_letters, loyalty, terminals, till_reconciliation, topics
from deploy.display import display
from deploy.local.kafka_jars import kafka_classpath
from deploy.local.waiting import disk_is_full
from deploy.service_api import ServiceApi
from deploy.settings import SERVICES, run_settings
from deploy.status import Status, Watch
from deploy.status_table import as_json, table
from deploy.supervisor import Supervisor
from deploy.trouble import Trouble
from deploy.words import _

INTERRUPTED = 130
RATE_OVER_S = 1.0
FILE_WIDTH = 200
DAY = ["%Y-%m-%d"]
Result = TypeVar("Result")

commands = typer.Typer(
    name="kopilka",
    help=_("Run and operate Kopilka."),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
letters = typer.Typer(help=_("Records that a service could not process."), no_args_is_help=True)
commands.add_typer(letters, name="dead-letters")
points = typer.Typer(help=_("Points by hand, and the proof of the ledger."), no_args_is_help=True)
commands.add_typer(points, name="loyalty")
tills = typer.Typer(help=_("Tills that speak HTTP, and their keys."), no_args_is_help=True)
commands.add_typer(tills, name="terminals")
exports = typer.Typer(help=_("The ledger as a file, CSV or XLSX."), no_args_is_help=True)
points.add_typer(exports, name="export")

Services = Annotated[
    list[str] | None, typer.Option("--service", help=_("Of this service only; may be given several times."))
]
Letters = Annotated[list[str], typer.Argument(metavar="ID...", help=_("Ids of dead letters."))]
SomeTill = Annotated[str, typer.Argument(metavar="TILL", help=_("The chain's own code of the till."))]
Whose = Annotated[str, typer.Argument(metavar="PHONE|CARD", help=_("Their phone or card number."))]
HowMany = Annotated[int, typer.Argument(metavar="POINTS", min=1, help=_("How many."))]
Reason = Annotated[str, typer.Option(help=_("Why, as a word of your own: complaint, mistake."))]
SomeReview = Annotated[str, typer.Argument(metavar="ID", help=_("The review's id."))]
Comment = Annotated[str | None, typer.Option(help=_("For the staff alone."))]
SomeTopic = Annotated[str | None, typer.Option("--topic", help=_("Of this topic only."))]

Since = Annotated[str | None, typer.Option("--from", help=_("Of this moment or later: 2026-01-01T00:00:00+03:00."))]
Until = Annotated[str | None, typer.Option("--to", help=_("Before this moment."))]
Store = Annotated[str | None, typer.Option("--store", help=_("Of this store's receipts only."))]
TimeZone = Annotated[str, typer.Option(help=_("Whose clock tells the moments: Europe/Moscow."))]
Output = Annotated[Path, typer.Option("--output", "-o", help=_("Where to: a name that ends with .csv or .xlsx."))]


def app() -> None:
    """`kopilka`. What the operator can mend is told in one line, without a traceback."""
    _keep_libraries_quiet()
    try:
        commands()
    except Trouble as trouble:
        sys.exit(f"kopilka: {trouble}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(f"kopilka: {disk_is_full(error.filename or run_settings().home)}")


@commands.command(help=_("Start everything on this machine and watch it; Ctrl-C stops it."))
def run(
    fresh: Annotated[bool, typer.Option("--fresh", help=_("Forget the data of earlier runs first."))] = False,
    sandbox: Annotated[bool, typer.Option("--sandbox/--no-sandbox", help=_("Simulated tills and Telegram."))] = True,
    rate: Annotated[float, typer.Option(min=0.01, help=_("Purchases a second of the simulated tills."))] = 5,
    speed: Annotated[float, typer.Option(min=0.01, help=_("How fast the tills' calendar goes; 1 is real time."))] = 1,
) -> None:
    settings = run_settings()
    if settings.kafka is None:
        kafka_classpath()  # before anything else, for it may take a minute and shows its own progress
    with display(_hint(sandbox=sandbox)) as shown:
        supervisor = Supervisor(settings, shown, fresh=fresh, sandbox=sandbox, rate=rate, speed=speed)
        _run(supervisor.run())


@commands.command(help=_("How every part is doing. The exit code is 1 when something is not ready."))
def status(json: Annotated[bool, typer.Option("--json", help=_("For programs."))] = False) -> None:
    seen = _run(_look())
    if json:
        print(as_json(seen))
    else:
        _console().print(table(seen))
    sys.exit(0 if seen.is_well else 1)


@commands.command("topics", help=_("Every topic: its size, how long it is kept, how far each group is behind."))
def list_topics(
    everything: Annotated[bool, typer.Option("--all", help=_("Empty dead-letter topics too."))] = False,
) -> None:
    _run(topics.show_topics(run_settings().bootstrap, _console(), everything=everything))


@commands.command(help=_("The records of a topic as they come."))
def tail(
    topic: Annotated[str, typer.Argument(help=_("Its name; `kopilka topics` lists them."))],
    *,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help=_("How many older ones of each partition."))] = 10,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help=_("All older ones."))] = False,
    follow: Annotated[bool, typer.Option(help=_("Wait for new ones, until Ctrl-C."))] = True,
    key: Annotated[str | None, typer.Option(help=_("Only those with this key."))] = None,
    of_type: Annotated[str | None, typer.Option("--type", help=_("Only those whose type begins so."))] = None,
    personal: Annotated[bool, typer.Option("--personal", help=_("Show personal data too."))] = False,
    json: Annotated[bool, typer.Option("--json", help=_("For programs: a JSON object a line."))] = False,
) -> None:
    _run(
        topics.tail(
            run_settings().bootstrap,
            _console(),
            topic,
            last=last,
            from_beginning=from_beginning,
            follow=follow,
            key=key,
            of_type=of_type,
            personal=personal,
            as_json=json,
        )
    )


@letters.command("list", help=_("The newest first."))
def list_letters(
    service: Services = None,
    topic: SomeTopic = None,
    settled: Annotated[bool, typer.Option("--all", help=_("Those replayed or dropped too."))] = False,
    most: Annotated[int, typer.Option(min=1, help=_("At most so many of each service."))] = 50,
) -> None:
    with ServiceApi(run_settings()) as api:
        dead_letters.show_list(api, _console(), services=_known(service), topic=topic, settled=settled, most=most)


@letters.command("show", help=_("One with all of its bytes and the reason; may show personal data."))
def show_letter(letter: Annotated[str, typer.Argument(metavar="ID", help=_("Its id."))]) -> None:
    with ServiceApi(run_settings()) as api:
        dead_letters.show_one(api, _console(), letter)


@letters.command("replay", help=_("Put records back on their topic, after the cause is mended."))
def replay_letters(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help=_("Ids of dead letters."))] = None,
    reason: Annotated[str | None, typer.Option(help=_("Instead of ids: all that died of this reason."))] = None,
    topic: SomeTopic = None,
    service: Services = None,
) -> None:
    with ServiceApi(run_settings()) as api:
        dead_letters.replay(api, _console(), ids or [], services=_known(service), reason=reason, topic=topic)


@letters.command("drop", help=_("Records that nobody will process."))
def drop_letters(ids: Letters) -> None:
    with ServiceApi(run_settings()) as api:
        dead_letters.drop(api, _console(), ids)


@points.command(
    help=_(
        "Prove the ledger over the whole database, or hold it against what the tills published: with --from, by store "
        "and day. The exit code is 1 where something is wrong."
    )
)
def reconcile(
    *,
    first: Annotated[datetime | None, typer.Option("--from", formats=DAY, help=_("The first day of receipts."))] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=DAY, help=_("The last day; else the first."))] = None,
    store: Annotated[str | None, typer.Option(help=_("Of this store only."))] = None,
    receipts: Annotated[
        Path | None, typer.Option(help=_("A CSV list of the tills' own instead of their topic, see docs/loyalty.md."))
    ] = None,
) -> None:
    settings = run_settings()
    with ServiceApi(settings) as api:
        if first is not None:
            days = (first.date(), (last or first).date())
            till_reconciliation.reconcile(
                api, _console(), settings.bootstrap, *days, store_id=store, listed_in=receipts
            )
        elif last or store or receipts:
            raise Trouble(_("name the first day too: --from 2025-11-02"))
        else:
            loyalty.reconcile(api, _console())


@points.command(help=_("A customer's operations with their ids, the newest first."))
def operations(
    phone_or_card: Whose, most: Annotated[int, typer.Option(min=1, max=200, help=_("At most so many."))] = 20
) -> None:
    with ServiceApi(run_settings()) as api:
        loyalty.show_operations(api, _console(), phone_or_card, most=most)


@points.command(help=_("What the programme has promised since when, and who changed it."))
def terms() -> None:
    with ServiceApi(run_settings()) as api:
        loyalty.show_terms(api, _console())


@points.command(help=_("Give a customer points by hand."))
def give(
    phone_or_card: Whose,
    how_many: HowMany,
    reason: Reason,
    comment: Comment = None,
    occasion: Annotated[
        str, typer.Option("--type", help=_("manual, registration, birthday, referral, activity, promotion, gift …"))
    ] = "manual",
    expires_at: Annotated[
        str | None, typer.Option(help=_("When they burn, as 2026-12-31T00:00:00+03:00; else as the terms say."))
    ] = None,
) -> None:
    form = {"points": how_many, "type": occasion, "reason": reason, "comment": comment, "expires_at": expires_at}
    with ServiceApi(run_settings()) as api:
        loyalty.adjust(api, _console(), phone_or_card, form)


@points.command(help=_("Take points from a customer by hand, soonest-expiring first."))
def take(phone_or_card: Whose, how_many: HowMany, reason: Reason, comment: Comment = None) -> None:
    form = {"points": -how_many, "reason": reason, "comment": comment}
    with ServiceApi(run_settings()) as api:
        loyalty.adjust(api, _console(), phone_or_card, form)


@points.command(help=_("Take back what was done by hand, whole or in part, never twice."))
def reverse(
    operation: Annotated[str, typer.Argument(metavar="ID", help=_("The operation's id."))],
    reason: Reason,
    comment: Comment = None,
    how_many: Annotated[int | None, typer.Option("--points", min=1, help=_("So many of its points; else all."))] = None,
) -> None:
    form = {"reason": reason, "comment": comment, "points": how_many}
    with ServiceApi(run_settings()) as api:
        loyalty.reverse(api, _console(), operation, form)


@points.command(help=_("What broke a limit of the programme, the newest first."))
def reviews(
    state: Annotated[str, typer.Option(help=_("open, approved or rejected."))] = "open",
    most: Annotated[int, typer.Option(min=1, max=200, help=_("At most so many."))] = 20,
) -> None:
    with ServiceApi(run_settings()) as api:
        loyalty.show_reviews(api, _console(), state=state, most=most)


@points.command(help=_("It was right: a purchase that was withheld is credited."))
def approve(review: SomeReview, reason: Reason, comment: Comment = None) -> None:
    with ServiceApi(run_settings()) as api:
        loyalty.decide(api, _console(), review, "approve", {"reason": reason, "comment": comment})


@points.command(help=_("It was not right: what the purchase has earned is taken back."))
def reject(review: SomeReview, reason: Reason, comment: Comment = None) -> None:
    with ServiceApi(run_settings()) as api:
        loyalty.decide(api, _console(), review, "reject", {"reason": reason, "comment": comment})


@tills.command("register", help=_("Register a till, or move it to another store."))
def register_till(
    till: SomeTill, store: Annotated[str, typer.Option(help=_("The chain's own code of the store."))]
) -> None:
    with ServiceApi(run_settings()) as api:
        terminals.register(api, _console(), till, store)


@tills.command("key", help=_("Give a till a new key and show it, this once; its old one is dead at once."))
def make_key(till: SomeTill) -> None:
    with ServiceApi(run_settings()) as api:
        terminals.show_new_key(api, _console(), till)


@tills.command("block", help=_("Shut a till out."))
def block_till(till: SomeTill) -> None:
    with ServiceApi(run_settings()) as api:
        terminals.block(api, _console(), till)


@tills.command("unblock", help=_("Let a till in again."))
def unblock_till(till: SomeTill) -> None:
    with ServiceApi(run_settings()) as api:
        terminals.unblock(api, _console(), till)


@tills.command("list", help=_("The tills by their ids, without their keys."))
def list_tills() -> None:
    with ServiceApi(run_settings()) as api:
        terminals.show_list(api, _console())


@tills.command("changes", help=_("What was done to a till and who did it, the newest first."))
def show_changes_of_till(
    till: SomeTill,
    most: Annotated[int, typer.Option(min=1, max=200, help=_("At most so many."))] = 20,
) -> None:
    with ServiceApi(run_settings()) as api:
        terminals.show_changes(api, _console(), till, most=most)


@exports.command("operations", help=_("Operations by when they were entered, the newest first."))
def export_operations(
    output: Output,
    since: Since = None,
    until: Until = None,
    store: Store = None,
    establishment: Annotated[str | None, typer.Option(help=_("Of this group of stores only."))] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", help=_("Of this type only; may be given several times."))
    ] = None,
    time_zone: TimeZone = "UTC",
) -> None:
    query = {"from": since, "to": until, "store_id": store, "type": types, "time_zone": time_zone}
    query["establishment"] = establishment
    with ServiceApi(run_settings()) as api:
        loyalty.export(api, _console(), "operations", output, query)


@exports.command("purchases", help=_("Purchases by when they were completed, the newest first."))
def export_purchases(
    output: Output, since: Since = None, until: Until = None, store: Store = None, time_zone: TimeZone = "UTC"
) -> None:
    query = {"from": since, "to": until, "store_id": store, "time_zone": time_zone}
    with ServiceApi(run_settings()) as api:
        loyalty.export(api, _console(), "purchases", output, query)


@commands.command(help=_("What every service knows of one customer."))
def customer(phone_or_card: Whose) -> None:
    with ServiceApi(run_settings()) as api:
        customer_card.show_customer(api, _console(), phone_or_card)


def _keep_libraries_quiet() -> None:
    """What they have to say of a server that is away is said by the command itself."""
    logging.getLogger().addHandler(logging.NullHandler())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


async def _look() -> Status:
    """Twice, for a rate needs two moments."""
    async with Watch(run_settings()) as watch:
        await watch.look()
        await asyncio.sleep(RATE_OVER_S)
        return await watch.look()


def _console() -> Console:
    """What goes into a file or a pipe is not folded to the width of a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=FILE_WIDTH)


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """To its end; a group of errors is told as its first."""
    try:
        return asyncio.run(work)
    except* Trouble as group:
        trouble: BaseException = group
        while isinstance(trouble, BaseExceptionGroup):
            trouble = trouble.exceptions[0]
        raise trouble from None


def _known(services: list[str] | None) -> list[str]:
    for service in services or ():
        if service not in SERVICES:
            raise Trouble(
                _("there is no service {name}; there are: {names}").format(name=service, names=", ".join(SERVICES))
            )
    return services or list(SERVICES)


def _hint(*, sandbox: bool) -> str:
    settings = run_settings()
    has_chat = sandbox and settings.telegram_token is None
    chat = _("Chat with the bot at {url}").format(url=settings.url("chat")) + ". " if has_chat else ""
    return chat + _("Logs in {folder}. Ctrl-C stops everything.").format(folder=settings.home / "logs")
