"""The till developer's page: its programs run as they stand, its examples are right, its table of errors is whole."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from chassis.envelope import Heard, decode
from chassis.provisioning import provision
from contracts.examples import EXAMPLES
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.topics import TOPICS
from tests.harness import ends, records
from tests.infra import Kafka

ROOT = Path(__file__).resolve().parents[2]
NOT_OF_PURCHASES = {ROOT / "services" / "loyalty" / "merging.py"}
PAGE = (ROOT / "docs" / "tills.md").read_text(encoding="utf-8")
KNOWN = {record.type: record for record in (PurchaseCompleted, PurchaseReturned, PurchaseCancelled)}
KAFKAJS = os.environ.get("KOPILKA_TEST_KAFKAJS")
"""A folder whose node_modules has kafkajs and uuid."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


class Bus:
    """The topic from where it stood when the test began."""

    def __init__(self, kafka: Kafka, begins: Any) -> None:
        self.kafka = kafka
        self.begins = begins

    async def understood(self) -> list[Heard]:
        found = await records(self.kafka, "pos.purchases", self.begins)
        heard = [decode(raw, KNOWN, value_max_bytes=256 * 1024) for raw in found]
        return [each for each in heard if each is not None]

    def run(self, command: list[str], folder: Path, **environment: str) -> None:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"KOPILKA_KAFKA": self.kafka.bootstrap} | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
async def bus(kafka: Kafka) -> AsyncIterator[Bus]:
    await provision(kafka.bootstrap, TOPICS.values(), replication=1)
    yield Bus(kafka, await ends(kafka, ["pos.purchases"]))


async def test_the_python_script_publishes_a_purchase_that_loyalty_understands(bus: Bus, tmp_path: Path) -> None:
    script = tmp_path / "publish.py"
    script.write_text(blocks("python")[0], encoding="utf-8")
    bus.run([sys.executable, "-W", "error", str(script)], tmp_path)
    (heard,) = await bus.understood()
    assert isinstance(heard.record, PurchaseCompleted)
    assert heard.raw.key == heard.record.key.encode() == b"2900000000018"
    assert heard.event_id.version == 7
    assert list((tmp_path / "outgoing").iterdir()) == []


async def test_the_python_script_sends_what_an_interrupted_run_left_with_the_same_id(bus: Bus, tmp_path: Path) -> None:
    script = tmp_path / "publish.py"
    script.write_text(blocks("python")[0].replace("asyncio.run(send_all())", ""), encoding="utf-8")
    bus.run([sys.executable, str(script)], tmp_path)
    (left,) = (tmp_path / "outgoing").iterdir()
    script.write_text(blocks("python")[0], encoding="utf-8")
    bus.run([sys.executable, str(script)], tmp_path)
    assert left.stem in {str(heard.event_id) for heard in await bus.understood()}
    assert len(await bus.understood()) == 2


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
async def test_the_kcat_line_publishes_the_example(bus: Bus, tmp_path: Path) -> None:
    (tmp_path / "purchase.json").write_text(blocks("json")[0], encoding="utf-8")
    bus.run(["sh", "-ec", next(block for block in blocks("sh") if block.startswith("kcat -P"))], tmp_path)
    (heard,) = await bus.understood()
    assert heard.record == PurchaseCompleted.model_validate(EXAMPLES[PurchaseCompleted.type])
    assert heard.raw.key == heard.record.key.encode()


@pytest.mark.skipif(KAFKAJS is None, reason="KOPILKA_TEST_KAFKAJS names no folder with kafkajs")
async def test_the_node_script_publishes_the_example(bus: Bus, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(Path(str(KAFKAJS)) / "node_modules")
    (tmp_path / "purchase.json").write_text(blocks("json")[0], encoding="utf-8")
    (tmp_path / "publish.mjs").write_text(blocks("js")[0], encoding="utf-8")
    bus.run(["node", "publish.mjs"], tmp_path)
    (heard,) = await bus.understood()
    assert heard.record == PurchaseCompleted.model_validate(EXAMPLES[PurchaseCompleted.type])
    assert heard.raw.key == heard.record.key.encode()
    assert heard.event_id.version == 7


async def test_programs_of_every_kind_put_a_key_into_the_same_partition(bus: Bus, tmp_path: Path) -> None:
    (tmp_path / "purchase.json").write_text(blocks("json")[0], encoding="utf-8")
    (tmp_path / "publish.py").write_text(blocks("python")[0], encoding="utf-8")
    bus.run([sys.executable, "publish.py"], tmp_path)
    if shutil.which("kcat"):
        bus.run(["sh", "-ec", next(block for block in blocks("sh") if block.startswith("kcat -P"))], tmp_path)
    if KAFKAJS is not None:
        (tmp_path / "node_modules").symlink_to(Path(KAFKAJS) / "node_modules")
        (tmp_path / "publish.mjs").write_text(blocks("js")[0], encoding="utf-8")
        bus.run(["node", "publish.mjs"], tmp_path)
    assert len({heard.raw.partition for heard in await bus.understood()}) == 1


def test_the_examples_are_those_of_the_contracts() -> None:
    purchase, returned = map(json.loads, blocks("json"))
    assert purchase == EXAMPLES["pos.purchase_completed.v1"]
    assert returned == EXAMPLES["pos.purchase_returned.v1"]


def test_every_reason_that_a_purchase_can_die_of_is_in_the_table() -> None:
    told = re.findall(r"^\| `([a-z_]+)` \|", PAGE.partition("| `dlq_reason` |")[2], re.MULTILINE)
    files = [ROOT / "chassis" / f"{name}.py" for name in ("envelope", "inbox", "delivery", "giving_up")]
    files += sorted(set((ROOT / "services" / "loyalty").glob("*.py")) - NOT_OF_PURCHASES)
    given = {reason for file in files for reason in reasons_in(ast.parse(file.read_text(encoding="utf-8")))}
    assert set(told) == given


def reasons_in(tree: ast.Module) -> Iterator[str]:
    """First words of refusals: `Unprocessable("x", …)`, `Impossible("x", …)`, `tx.refuse(record, "x", …)`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Unprocessable" | "Impossible"), args=[ast.Constant(value=str(reason)), *_]):
                yield reason
            case ast.Call(func=ast.Attribute(attr="refuse"), args=[_, ast.Constant(value=str(reason)), *_]):
                yield reason
            case ast.IfExp(body=ast.Constant(value="not_json" as reason)):
                yield reason
