"""What a till publishes of a happening: always the same record with the same event id for the same date."""

import hashlib
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.publishing import Publication
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseLine, PurchaseReturned, ReturnedLine
from contracts.records import Record
from deploy.sandbox.tills.afterwards import Afterwards
from deploy.sandbox.tills.baskets import Basket
from deploy.sandbox.tills.happenings import Happening
from deploy.sandbox.tills.households import card_number

CURRENCY: Final = "USD"


def publication(happening: Happening, date: datetime, run: str) -> Publication:
    """The record, dated `date`. `run` names the run in the receipts' ids: another run's are other receipts."""
    place, basket, later = happening.place, happening.basket, happening.afterwards
    run = f"{run}.{place.year}" if place.year else run
    till = _till(basket) if later is None or not later.lines else f"{basket.store}-01"
    name = f"{run} {basket.basket_id} {place.step}"
    return Publication(
        _purchase(basket, till, date, run)
        if later is None
        else _undoing(basket, later, step=place.step, till=till, date=date, run=run),
        event_id=_uuid7(name, date),
        source=f"/sandbox/tills/{till}",
        time=date,
        traceparent=_traceparent(name),
    )


def _purchase(basket: Basket, till: str, date: datetime, run: str) -> Record:
    lines = [
        PurchaseLine(
            line_no=line.line_no,
            product_id=line.product_id,
            category=line.category,
            quantity=str(line.quantity),
            amount_minor=line.amount_minor,
            discount_minor=line.discount_minor,
            total_minor=line.total_minor,
        )
        for line in basket.lines
    ]
    return PurchaseCompleted(
        card_number=card_number(basket.household),
        receipt_id=_receipt_id(basket, run),
        store_id=str(basket.store),
        terminal_id=till,
        completed_at=date,
        currency=CURRENCY,
        lines=lines,
        discount_minor=sum(line.discount_minor for line in lines),
        total_minor=sum(line.total_minor for line in lines),
    )


def _undoing(basket: Basket, later: Afterwards, *, step: int, till: str, date: datetime, run: str) -> Record:
    receipt_id = _receipt_id(basket, run)
    store_id = str(basket.store)
    if not later.lines:
        return PurchaseCancelled(
            card_number=card_number(basket.household),
            receipt_id=receipt_id,
            store_id=store_id,
            terminal_id=till,
            cancelled_at=date,
        )
    lines = [
        ReturnedLine(line_no=line.line_no, quantity=str(line.quantity), total_minor=line.total_minor)
        for line in later.lines
    ]
    return PurchaseReturned(
        card_number=card_number(basket.household),
        return_id=f"{receipt_id}-R{step}",
        receipt_id=receipt_id,
        store_id=store_id,
        terminal_id=till,
        returned_at=date,
        currency=CURRENCY,
        lines=lines,
        total_minor=sum(line.total_minor for line in lines),
    )


def _till(basket: Basket) -> str:
    """A store has 2 to 9 tills; a basket is always paid at the same one."""
    tills = 2 + basket.store % 8
    return f"{basket.store}-{1 + basket.basket_id % tills:02}"


def _receipt_id(basket: Basket, run: str) -> str:
    return f"{_till(basket)}-{run}-{basket.basket_id}"


def _uuid7(name: str, date: datetime) -> UUID:
    """A UUIDv7 (RFC 9562) whose random part is a hash of the name: the same at every try."""
    random = int.from_bytes(_digest("event", name, 10))
    high = int(date.timestamp() * 1000) << 16 | 0x7 << 12 | random >> 68
    low = 0b10 << 62 | random & (1 << 62) - 1
    return UUID(int=high << 64 | low)


def _traceparent(name: str) -> str:
    return f"00-{_digest('trace', name, 16).hex()}-{_digest('span', name, 8).hex()}-01"


def _digest(of: str, name: str, size: int) -> bytes:
    return hashlib.blake2b(f"{of} {name}".encode(), digest_size=size).digest()
