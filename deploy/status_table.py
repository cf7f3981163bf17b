"""The status as a table for a terminal, and as plain lines for everything else."""

import json
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.status import PartStatus, State, Status
from deploy.words import _

COLOURS = {
    State.READY: "green",
    State.STARTING: "yellow",
    State.NOT_READY: "yellow",
    State.RESTARTING: "red",
    State.DOWN: "red",
}


def state_word(state: State) -> str:
    """In the operator's language."""
    return {
        State.READY: _("ready"),
        State.STARTING: _("starting"),
        State.NOT_READY: _("not ready"),
        State.RESTARTING: _("restarting"),
        State.DOWN: _("down"),
    }[state]


def table(status: Status, *, hint: str = "") -> RenderableType:
    """For a terminal; `hint` goes below."""
    lines = Table(box=None, pad_edge=False, padding=(0, 2))
    for heading in (_("Part"), _("State"), _("Address")):
        lines.add_column(heading, no_wrap=True)
    for heading in (_("Lag"), _("Dead letters")):
        lines.add_column(heading, justify="right", no_wrap=True)
    for part in status.parts:
        lines.add_row(
            part.name,
            Text(state_word(part.state), COLOURS[part.state]),
            part.url or "",
            figure(part.lag),
            Text(figure(part.dead_letters), "red" if part.dead_letters else ""),
        )
    below = [Text(f"{part.name}: {part.note}", "yellow") for part in status.parts if part.note]
    below.append(Text(purchases_line(status)))
    if hint:
        below.append(Text(hint, "dim"))
    return Group(lines, Text(""), *below)


def purchases_line(status: Status) -> str:
    """How many purchases there are and how fast they go."""
    if status.purchases is None:
        return ""
    return _("Purchases: {all}; {published:.1f}/s published, {credited:.1f}/s credited").format(
        all=figure(status.purchases),
        published=status.published_per_s or 0,
        credited=status.credited_per_s or 0,
    )


def part_line(part: PartStatus) -> str:
    """One part in a line of a log."""
    note = f" ({part.note})" if part.note else ""
    return f"{part.name}: {state_word(part.state)}{note} {part.url or ''}".rstrip()


def summary_line(status: Status) -> str:
    """Everything in a line of a log."""
    lag = sum(part.lag or 0 for part in status.parts)
    letters = sum(part.dead_letters or 0 for part in status.parts)
    return _("{purchases}; lag {lag}, dead letters {letters}").format(
        purchases=purchases_line(status), lag=figure(lag), letters=figure(letters)
    )


def as_json(status: Status) -> str:
    """For programs."""
    return json.dumps(asdict(status) | {"is_well": status.is_well}, indent=2)


def figure(number: int | None) -> str:
    """With narrow spaces between the thousands, as both languages allow; nothing for None."""
    return "" if number is None else f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
