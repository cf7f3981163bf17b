"""`kopilka dead-letters`: what the services could not process, over their HTTP APIs."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.service_api import ServiceApi
from deploy.settings import SERVICES
from deploy.trouble import Trouble
from deploy.words import _, ngettext

PAGE = 200
Letter = dict[str, Any]


def show_list(
    api: ServiceApi, console: Console, *, services: Sequence[str], topic: str | None, settled: bool, most: int
) -> None:
    """The newest first, of every service asked for; one that does not answer costs its own part only."""
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for heading in (_("Id"), _("Service"), _("Record"), _("Reason"), _("When"), _("State")):
        table.add_column(heading, no_wrap=True)
    table.add_column(_("Detail"), overflow="fold")
    silent = []
    for service in services:
        try:
            letters = list(_letters(api, service, topic=topic, state=None if settled else "kept", most=most))
        except Trouble as trouble:
            silent.append(trouble)
            continue
        for letter in letters:
            place = f"{letter['topic']}/{letter['partition']}:{letter['offset']}"
            died_at = letter["died_at"][:19].replace("T", " ")
            detail = Text(letter["detail"])  # what came from outside is no markup
            table.add_row(letter["id"], service, place, letter["reason"], died_at, letter["state"], detail)
    if table.row_count:
        console.print(table)
    elif not silent:
        console.print(_("No dead letters."))
    if silent:
        raise Trouble("\n".join(map(str, silent)))


def show_one(api: ServiceApi, console: Console, letter_id: str) -> None:
    """With its key, headers and value as they came."""
    service, letter = _find(api, letter_id)
    console.print_json(json.dumps({"service": service, **_readable(letter)}, ensure_ascii=False))


def replay(
    api: ServiceApi,
    console: Console,
    ids: Sequence[str],
    *,
    services: Sequence[str],
    reason: str | None,
    topic: str | None,
) -> None:
    """Those named, or all that died of the reason."""
    if bool(ids) == bool(reason):
        raise Trouble(_("name the dead letters to replay, or the --reason whose letters all go back"))
    count = 0
    for letter_id in ids:
        service, _letter = _find(api, letter_id)
        api.post(service, f"/dead-letters/{letter_id}/replay")
        count += 1
    if reason:
        for service in services:
            more = True
            while more:
                answer = api.post(service, "/dead-letters/replay-all", reason=reason, topic=topic)
                count += answer["replayed"]
                more = answer["more"] and answer["replayed"] > 0
    console.print(
        ngettext("{count} record is on its way again.", "{count} records are on their way again.", count).format(
            count=count
        )
    )


def drop(api: ServiceApi, console: Console, ids: Sequence[str]) -> None:
    """Those named: nobody will process them."""
    for letter_id in ids:
        service, _letter = _find(api, letter_id)
        api.post(service, f"/dead-letters/{letter_id}/drop")
    dropped = ngettext("{count} record is dropped.", "{count} records are dropped.", len(ids))
    console.print(dropped.format(count=len(ids)))


def _letters(api: ServiceApi, service: str, *, topic: str | None, state: str | None, most: int) -> Iterator[Letter]:
    cursor: str | None = None
    while most > 0:
        page = api.get(service, "/dead-letters", topic=topic, state=state, limit=min(PAGE, most), cursor=cursor)
        yield from page["items"]
        most -= len(page["items"])
        cursor = page["next"]
        if cursor is None:
            return


def _find(api: ServiceApi, letter_id: str) -> tuple[str, Letter]:
    """The service that has it: an id alone does not say whose it is."""
    for service in SERVICES:
        letter: Letter | None = api.find(service, f"/dead-letters/{letter_id}")
        if letter is not None:
            return service, letter
    raise Trouble(_("no service has a dead letter {id}; `kopilka dead-letters list` names them").format(id=letter_id))


def _readable(letter: Letter) -> Letter:
    """A value that is JSON is shown as JSON."""
    value = (letter.get("value") or {}).get("text")
    if value is not None:
        try:
            return {**letter, "value": json.loads(value)}
        except ValueError:
            pass
    return letter
