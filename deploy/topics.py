"""`kopilka topics` and `kopilka tail`: what is on the bus."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from chassis.envelope import Raw
from chassis.topic_reading import Start, TopicReader, group_state
from contracts.topics import TOPICS, Topic, dead_letter_topic
from deploy.settings import SERVICES
from deploy.status import topics_heard
from deploy.trouble import Trouble
from deploy.words import _

DAY_MS = 24 * 60 * 60 * 1000


async def show_topics(bootstrap: str, console: Console) -> None:
    """Every topic that is there: its writer and key, its size, how long it is kept, how far each group is behind."""
    async with TopicReader(bootstrap) as bus:
        names = await bus.names()
        states = await bus.states(names)
        ends = await bus.ends(names)
        committed = {group: await bus.committed(group) for group in SERVICES}
    heard = {group: topics_heard(group, names) for group in SERVICES}
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column(_("Topic"), no_wrap=True)
    table.add_column(_("Partitions"), justify="right")
    table.add_column(_("Offsets"), justify="right", no_wrap=True)
    for heading in (_("Kept"), _("Written by"), _("Key"), _("Lag")):
        table.add_column(heading)
    for name in names:
        topic = declared(name)
        lags = [
            f"{group} {group_state(ends, committed[group], name).lag}" for group in SERVICES if name in heard[group]
        ]
        table.add_row(
            name,
            str(states[name].partitions),
            f"{states[name].offsets:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
            _retention(topic),
            topic.writer if topic else "",
            topic.key if topic else "",
            ", ".join(lags),
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
    async with TopicReader(bootstrap) as bus:
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
