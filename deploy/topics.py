"""`kopilka topics` and `kopilka tail`: what is on the bus."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from chassis.envelope import Raw
from chassis.topic_reading import Start
from contracts.topics import TOPICS, Topic, dead_letter_topic
from deploy.bus import looking_at_bus
from deploy.settings import SERVICES
from deploy.status import topics_heard
from deploy.status_table import figure
from deploy.trouble import Trouble
from deploy.words import _

WIDE = 140
DAY_MS = 24 * 60 * 60 * 1000


async def show_topics(bootstrap: str, console: Console, *, everything: bool) -> None:
    """Every topic that is there, empty dead-letter topics only with `everything`; a wide terminal shows more."""
    async with looking_at_bus(bootstrap) as bus:
        names = await bus.names()
        states = await bus.states(names)
        ends = await bus.ends(names)
        heard = {group: topics_heard(group, names) for group in SERVICES}
        groups = {group: await bus.group_states(group, topics, ends) for group, topics in heard.items()}
    is_wide = console.width >= WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column(_("Topic"), overflow="fold")
    for heading in (_("Partitions"), _("Offsets")):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in (_("Kept"), *((_("Written by"), _("Key")) if is_wide else ())):
        table.add_column(heading)
    table.add_column(_("Lag"), no_wrap=True)
    for name in names:
        if name.endswith(".dlq") and not states[name].offsets and not everything:
            continue
        topic = declared(name)
        lags = [(group, states_of[name].lag) for group, states_of in groups.items() if name in states_of]
        table.add_row(
            name,
            str(states[name].partitions),
            figure(states[name].offsets),
            _retention(topic),
            *((topic.writer if topic else "", topic.key if topic else "") if is_wide else ()),
            "\n".join(f"{group} {figure(lag)}" for group, lag in lags),
        )
    console.print(table)


async def tail(
    bootstrap: str,
    console: Console,
    name: str,
    *,
    last: int,
    from_beginning: bool,
    follow: bool,
    key: str | None,
    of_type: str | None,
    personal: bool,
    as_json: bool,
) -> None:
    """Its records, a line each. What a topic with personal data says is shown only on demand."""
    topic = declared(name)
    hidden = topic is not None and topic.personal and not personal
    async with looking_at_bus(bootstrap) as bus:
        names = await bus.names()
        if name not in names:
            raise Trouble(_("there is no topic {name}; there are: {names}").format(name=name, names=", ".join(names)))
        start: Start = "beginning" if from_beginning else "end"
        async for raw in bus.read(name, start=start, last=last, follow=follow):
            if _is_wanted(raw, key, of_type):
                facts = _facts(raw, hidden=hidden)
                console.print(
                    json.dumps(facts, ensure_ascii=False) if as_json else _line(facts),
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )


def declared(name: str) -> Topic | None:
    """The declaration of a topic, of a dead-letter topic too; None for one that Kopilka does not know."""
    if name in TOPICS:
        return TOPICS[name]
    for group in SERVICES:
        for source in topics_heard(group, [name]):
            if source in TOPICS:
                return dead_letter_topic(source, group)
    return None


def _is_wanted(raw: Raw, key: str | None, of_type: str | None) -> bool:
    if key is not None and raw.key != key.encode():
        return False
    return of_type is None or (dict(raw.headers).get("ce_type") or b"").startswith(of_type.encode())


def _facts(raw: Raw, *, hidden: bool) -> dict[str, Any]:
    headers = {name: (value or b"").decode(errors="replace") for name, value in raw.headers}
    return {
        "time": datetime.fromtimestamp(raw.timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "partition": raw.partition,
        "offset": raw.offset,
        "key": None if raw.key is None else raw.key.decode(errors="replace"),
        "type": headers.get("ce_type"),
        "headers": headers,
        "value": _("(personal data: add --personal)") if hidden else _value(raw.value),
    }


def _value(value: bytes | None) -> Any:
    """JSON where it is JSON; else the text, with what is not UTF-8 replaced."""
    if value is None:
        return None
    try:
        return json.loads(value)
    except ValueError:
        return value.decode(errors="replace")


def _line(facts: Mapping[str, Any]) -> str:
    value = facts["value"] if isinstance(facts["value"], str) else json.dumps(facts["value"], ensure_ascii=False)
    return f"{facts['time']} {facts['partition']}:{facts['offset']} {facts['key']} {facts['type']} {value}"


def _retention(topic: Topic | None) -> str:
    if topic is None:
        return ""
    if topic.retention_ms is None:
        return _("newest of each key")
    return _("{days} days").format(days=topic.retention_ms // DAY_MS)
