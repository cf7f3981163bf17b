"""`kopilka loyalty` against a loyalty and a customers service that really answer."""

import asyncio
import functools
import io
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from fastapi import FastAPI
from rich.console import Console

from chassis.database import Database
from chassis.http import build_app
from chassis.settings import Settings
from contracts.customers import Card
from deploy import loyalty
from deploy.service_api import ServiceApi
from deploy.settings import RunSettings
from deploy.status_table import figure
from deploy.trouble import Trouble
from services.customers.__main__ import service as customers_service
from services.loyalty.__main__ import service as loyalty_service
from tests.chassis.http_world import listening
from tests.infra import Postgres
from tests.services.customers.world import Customers
from tests.services.loyalty.world import Loyalty, purchase

CARD = "7001234"
Work = Callable[[ServiceApi, Console], None]


@pytest.fixture
async def settings(postgres: Postgres) -> AsyncIterator[Settings]:
    prefix = f"t{uuid.uuid4().hex[:12]}_"
    settings = Settings(database=postgres.dsn("postgres"), database_prefix=prefix)
    for each in (customers_service, loyalty_service):
        postgres.ensure_database(f"{prefix}{each.name}")
        await each.migrate(settings)
    yield settings
    for each in (customers_service, loyalty_service):
        postgres.drop_database(f"{prefix}{each.name}")


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[RunSettings]:
    """Both services on ports of their own, with one customer who has a card."""
    customers, ledger = Customers(settings), Loyalty(settings)
    anna = await customers.register(card_number=CARD)
    await ledger.hear(Card(card_number=CARD, customer_id=uuid.UUID(anna["id"])))

    async def ready() -> list[str]:
        return []

    def app(name: str, database: Database) -> FastAPI:
        router = {"customers": customers_service.api, "loyalty": loyalty_service.api}[name]
        return build_app(name, router, database, settings=settings, readiness=ready)

    async with (
        listening(app("customers", customers.database)) as customers_port,
        listening(app("loyalty", ledger.database)) as loyalty_port,
    ):
        yield RunSettings(customers_port=customers_port, loyalty_port=loyalty_port)
    await customers.close()
    await ledger.close()


async def told(house: RunSettings, work: Work) -> list[str]:
    """The lines that the operator reads; the command is synchronous, as in a terminal."""

    def run() -> str:
        console = Console(file=io.StringIO(), width=240)
        with ServiceApi(house) as api:
            work(api, console)
        return str(console.file.getvalue())  # type: ignore[attr-defined]

    return (await asyncio.to_thread(run)).splitlines()


async def test_points_are_given_taken_and_taken_back_and_the_ledger_is_right(house: RunSettings) -> None:
    gift = {"points": 100, "reason": "complaint", "comment": "The milk was sour.", "expires_at": None}
    given, balance = await told(house, lambda api, console: loyalty.adjust(api, console, CARD, gift))
    assert "+100  by hand complaint, operator:" in given
    assert balance == "Balance now: 100"

    fine = {"points": -30, "reason": "mistake"}
    taken, balance = await told(house, lambda api, console: loyalty.adjust(api, console, CARD, fine))
    assert balance == "Balance now: 70"

    await told(house, lambda api, console: loyalty.reverse(api, console, taken.split()[0], {"reason": "mistake"}))
    newest, reversed_, oldest = await told(
        house, lambda api, console: loyalty.show_operations(api, console, CARD, most=20)
    )
    assert "+30  reversal mistake" in newest
    assert reversed_.endswith("(reversed)")
    assert oldest.endswith(": The milk was sour.")
    assert re.search(r" complaint, operator:\S+ \[\S+\]: The milk", oldest)
    (proof,) = await told(house, loyalty.reconcile)
    assert proof == "The ledger is right: 3 operations, no difference."


async def test_what_broke_a_limit_is_listed_and_rejected(house: RunSettings, settings: Settings) -> None:
    assert await told(house, lambda api, console: loyalty.show_reviews(api, console, state="open", most=20)) == [
        "No reviews."
    ]
    ledger = Loyalty(settings)
    await ledger.set_terms(
        limits=[{"code": "large", "per": "customer", "measure": "receipt_total_minor", "most": 1_000}]
    )
    await ledger.hear(purchase(CARD, 100_000, receipt="r57"))
    await ledger.close()
    (listed,) = await told(house, lambda api, console: loyalty.show_reviews(api, console, state="open", most=20))
    assert listed.endswith("100\u202f000 > 1\u202f000  r57  open")
    reason = {"reason": "mistake"}
    rejected, corrected = await told(
        house, lambda api, console: loyalty.decide(api, console, listed.split()[0], "reject", reason)
    )
    assert rejected.endswith("r57  rejected")
    (newest, _) = await told(house, lambda api, console: loyalty.show_operations(api, console, CARD, most=20))
    assert newest.startswith(corrected.split()[-1])
    assert "-50  review r57" in newest
    approve = {"reason": "mistake"}
    with pytest.raises(Trouble, match="This review is decided already"):
        await told(house, lambda api, console: loyalty.decide(api, console, listed.split()[0], "approve", approve))


async def test_the_terms_are_told_with_who_changed_what(house: RunSettings) -> None:
    def shorten(api: ServiceApi, _console: Console) -> None:
        api.post("loyalty", "/terms", form={"lot_life_days": 180})

    await told(house, shorten)
    head, change, first = await told(house, loyalty.show_terms)
    assert "set by operator:" in head
    assert change == "  lot_life_days: 365 → 180"
    assert "set by migration" in first


async def test_what_the_service_refuses_is_told_in_its_words(house: RunSettings) -> None:
    fine = {"points": -30, "reason": "mistake"}
    with pytest.raises(Trouble, match="loyalty: The customer has 0 points; take so many at most"):
        await told(house, lambda api, console: loyalty.adjust(api, console, CARD, fine))
    assert await told(house, lambda api, console: loyalty.show_operations(api, console, CARD, most=20)) == [
        "No operations."
    ]


async def test_a_ledger_that_is_wrong_is_told_law_by_law(house: RunSettings, settings: Settings) -> None:
    await told(house, lambda api, console: loyalty.adjust(api, console, CARD, {"points": 5, "reason": "gift"}))
    ledger = Loyalty(settings)
    await ledger.rows("UPDATE accounts SET balance = balance + 1")
    await ledger.close()
    with pytest.raises(Trouble, match="2 differences in the ledger"):
        await told(house, loyalty.reconcile)


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
async def test_operations_are_put_into_a_file_of_the_kind_that_its_name_says(
    house: RunSettings, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"operations.{suffix}"
    query = {"type": ["manual", "reversal"], "from": "2025-01-01T00:00:00Z", "time_zone": "Europe/Moscow"}
    await told(house, lambda api, console: loyalty.adjust(api, console, CARD, {"points": 5, "reason": "gift"}))
    (line,) = await told(house, lambda api, console: loyalty.export(api, console, "operations", file, query))
    assert line == f"{file}: {figure(len(file.read_bytes()))} bytes"
    assert file.read_bytes()[:2] == (b"PK" if suffix == "xlsx" else b"\xef\xbb")
    assert names_in(tmp_path) == [file.name]


async def test_an_export_that_is_refused_leaves_the_file_as_it_was(house: RunSettings, tmp_path: Path) -> None:
    file = tmp_path / "purchases.csv"
    file.write_text("of yesterday")
    for path, query, words in (
        (file, {"time_zone": "Mars"}, "loyalty: The request has values"),
        (tmp_path / "purchases.pdf", {}, r"end its name with one of \.csv, \.xlsx"),
    ):
        with pytest.raises(Trouble, match=words):
            await told(house, functools.partial(export_purchases, path, query))
    assert (names_in(tmp_path), file.read_text()) == (["purchases.csv"], "of yesterday")


def export_purchases(file: Path, query: Mapping[str, str], api: ServiceApi, console: Console) -> None:
    loyalty.export(api, console, "purchases", file, query)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
