"""The page for who writes a till: its requests run as they stand."""

import re
from pathlib import Path
from string import Template

import httpx
import pytest

from chassis import published
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from tests.services.customers.test_the_manual import BLOCK, COMMAND, request
from tests.services.loyalty.world import Loyalty, adjust

MANUAL = (Path(__file__).parents[3] / "docs" / "tills.md").read_text(encoding="utf-8")
NOT_YET = 202
PASSED_ON = re.compile(r"/till/purchases/\S+/(complete|return|cancel) ")


async def test_the_requests_of_the_manual_run_as_they_stand(
    loyalty: Loyalty, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "PATIENCE_S", 0.01)  # no relay runs here
    await adjust(api, await loyalty.knows("2900000000018"), 100)
    known = {"URL": "http://127.0.0.1"}
    commands = [command for block in BLOCK.findall(MANUAL) for command in COMMAND.findall(block)]
    assert len(commands) == len(re.findall("^curl ", MANUAL, re.MULTILINE)) == 8

    for command, status in commands:
        answer = await api.request(**request(Template(command.replace("\\\n", " ")).substitute(known)))
        assert answer.status_code == (NOT_YET if PASSED_ON.search(command) else int(status)), answer.text
        if "/key " in command:
            known["KEY"] = answer.json()["key"]
    for record in (PurchaseCompleted, PurchaseReturned, PurchaseCancelled):
        assert len(await loyalty.said(record)) == 1
