import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import orjson

from tests.services.customers.world import Customers

MANUAL = Path(__file__).parents[3] / "docs" / "customers.md"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^(curl .*?)\s+# (\d{3})$", re.MULTILINE | re.DOTALL)
ANSWER = re.compile(r"```json\n(.*?)```", re.DOTALL)


async def test_the_examples_of_the_manual_run_as_they_stand(customers: Customers) -> None:
    known = {"URL": "http://127.0.0.1"}
    answers: list[Any] = []

    for command, status in commands():
        answer = await customers.http.request(**request(Template(command).substitute(known)))
        assert answer.status_code == status, f"{command}\n{answer.text}"
        answers.append(answer.json() if answer.content else None)
        if len(answers) == 1:
            known |= {"CUSTOMER": answers[0]["id"], "CARD": answers[0]["cards"][0]["number"]}
        if status == 201 and command.startswith("curl -X POST $URL/customers "):
            known |= {"OTHER": answers[-1]["id"]}

    assert len(answers) == MANUAL.read_text().count("curl ")
    assert [page["items"][0]["id"] for page in answers[1:4]] == [known["CUSTOMER"]] * 3
    (shown,) = ANSWER.findall(MANUAL.read_text())
    assert shape(orjson.loads(shown)) == shape(answers[0])


def commands() -> Iterator[tuple[str, int]]:
    """Each call of curl in the manual and the status that it promises."""
    for block in BLOCK.findall(MANUAL.read_text()):
        for command, status in COMMAND.findall(block):
            yield command.replace("\\\n", " "), int(status)


def request(command: str) -> dict[str, Any]:
    """What curl would send, as far as the manual needs it."""
    words = iter(shlex.split(command)[1:])
    asked: dict[str, Any] = {"method": "GET", "headers": {}, "params": {}}
    for word in words:
        if word == "-X":
            asked["method"] = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            asked["headers"][name] = value
        elif word == "-d":
            asked["content"] = next(words).encode()
        elif word == "--data-urlencode":
            name, _, value = next(words).partition("=")
            asked["params"][name] = value
        elif word != "-G":
            asked["url"] = word
    return {name: value for name, value in asked.items() if value}


def shape(document: Any) -> Any:
    """The document without what differs from run to run."""
    if isinstance(document, dict):
        return {name: shape(value) for name, value in document.items() if name not in ("id", "number")}
    if isinstance(document, list):
        return list(map(shape, document))
    return "a moment" if isinstance(document, str) and re.match(r"\d{4}-\d\d-\d\dT", document) else document
