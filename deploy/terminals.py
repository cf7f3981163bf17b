"""`kopilka terminals`: the tills that speak HTTP and their keys, over loyalty's HTTP API."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.customer_card import moment
from deploy.service_api import ServiceApi
from deploy.words import _

PAGE = 200
Till = dict[str, Any]


def register(api: ServiceApi, console: Console, terminal_id: str, store_id: str) -> None:
    """Register a till, or move it to another store."""
    till = api.put("loyalty", _path(terminal_id), form={"store_id": store_id})
    key = "" if till["key_set_at"] else " " + _("Make it a key: kopilka terminals key {till}").format(till=terminal_id)
    _print(console, _("Till {till} stands in store {store}.").format(till=terminal_id, store=store_id) + key)


def show_new_key(api: ServiceApi, console: Console, terminal_id: str) -> None:
    """The key alone on its line, so that it can go into a pipe."""
    _print(console, api.post("loyalty", f"{_path(terminal_id)}/key")["key"])


def block(api: ServiceApi, console: Console, terminal_id: str) -> None:
    api.post("loyalty", f"{_path(terminal_id)}/block")
    _print(console, _("Till {till} is blocked.").format(till=terminal_id))


def unblock(api: ServiceApi, console: Console, terminal_id: str) -> None:
    api.post("loyalty", f"{_path(terminal_id)}/unblock")
    _print(console, _("Till {till} is let in again.").format(till=terminal_id))


def show_list(api: ServiceApi, console: Console) -> None:
    """By their ids, without their keys."""
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for heading in (_("Till"), _("Store"), _("Key of"), _("Blocked since")):
        table.add_column(heading, no_wrap=True)
    for till in _tills(api):
        dates = (moment(till["key_set_at"]), moment(till["blocked_at"]))
        table.add_row(Text(till["terminal_id"]), Text(till["store_id"]), *dates)
    console.print(table if table.row_count else _("No tills."))


def show_changes(api: ServiceApi, console: Console, terminal_id: str, *, most: int) -> None:
    """What was done to the till and who did it, the newest first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for heading in (_("When"), _("What"), _("Store"), _("Who")):
        table.add_column(heading, no_wrap=True)
    changes = {
        "registered": _("registered"),
        "moved": _("moved"),
        "key_set": _("new key"),
        "blocked": _("blocked"),
        "unblocked": _("let in again"),
    }
    for change in api.get("loyalty", f"{_path(terminal_id)}/changes", limit=most)["items"]:
        what, store = changes[change["what"]], Text(change["store_id"] or "")
        table.add_row(moment(change["at"]), what, store, Text(change["actor"]))
    console.print(table)


def _tills(api: ServiceApi) -> Iterator[Till]:
    cursor = None
    while True:
        page = api.get("loyalty", "/terminals", limit=PAGE, cursor=cursor)
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return


def _path(terminal_id: str) -> str:
    return f"/terminals/{quote(terminal_id, safe='')}"


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
