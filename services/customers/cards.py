"""Cards: numbers of our own or printed before, given to one customer for good, blocked and unblocked."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from chassis.actor import Actor
from chassis.problems import Problem
from chassis.transaction import Row, Transaction
from contracts.customers import Card
from contracts.fields import ean13_check_digit
from services.customers import audit
from services.customers.customer import CardState, Customer, HeldCard, lock_one

PREFIX: Final = "29"
"""GS1 gives numbers from 20 to 29 to nobody: they circulate within a chain (General Specifications, section 1.4)."""
CARDS_MAX: Final = 50
DRAW_MAX: Final = 10_000

HELD_BEFORE = "(SELECT count(*) FROM cards AS others WHERE others.customer_id = $2) AS held_before"
ADD = f"""
INSERT INTO cards (number, customer_id, state, added_at) VALUES ($1, $2, 'active', $3)
ON CONFLICT DO NOTHING RETURNING number, {HELD_BEFORE}
"""  # noqa: S608 (a constant)
HOLDER = "SELECT customer_id FROM cards WHERE number = $1"
DRAW = "SELECT nextval('card_numbers') FROM generate_series(1, $1::int)"
ADD_FIRST_FREE = f"""
INSERT INTO cards (number, customer_id, state, added_at)
SELECT number, $2, 'active', $3 FROM unnest($1::text[]) WITH ORDINALITY AS drawn (number, place)
WHERE NOT EXISTS (SELECT FROM cards WHERE cards.number = drawn.number)
ORDER BY place LIMIT 1
ON CONFLICT DO NOTHING RETURNING number, {HELD_BEFORE}
"""  # noqa: S608 (a constant)
REPLACE = "UPDATE cards SET state = 'blocked', replaced_by = $2 WHERE number = $1"
SHARE_ORIGIN = """
UPDATE cards SET came_with = replaced.came_with FROM cards AS replaced WHERE cards.number = $2 AND replaced.number = $1
"""
"""Where a merge is undone, a card that was got in the place of another goes where that one goes."""
TAKE_ALONG = "UPDATE cards SET customer_id = $2, came_with = $1 WHERE customer_id = $1"
GO_BACK = """
UPDATE cards SET customer_id = came_with, came_with = NULL WHERE came_with = $1 RETURNING number, state, replaced_by
"""
SET_STATE = "UPDATE cards SET state = $2 WHERE number = $1"


def own_number(serial: int) -> str:
    """The EAN-13 number of our own range with this serial."""
    first_twelve = f"{PREFIX}{serial:010d}"
    return first_twelve + ean13_check_digit(first_twelve)


def has_active(customer: Customer) -> bool:
    """Whether the customer has a card that may be used."""
    return any(card.state == "active" for card in customer.cards)


async def give(tx: Transaction, customer_id: UUID, number: str | None, who: Actor) -> tuple[HeldCard, bool]:
    """Give the customer the card, or a newly issued one, and tell whether it is new to them.

    Raises `Problem` 404, 410, and 409 as `add`.
    """
    customer = await lock_one(tx, customer_id)
    if number is None:
        return HeldCard(await issue(tx, customer.id, who), "active"), True
    if await add(tx, customer.id, number, who):
        return HeldCard(number, "active"), True
    return next(card for card in customer.cards if card.number == number), False


async def add(tx: Transaction, customer_id: UUID, number: str, who: Actor) -> bool:
    """Give the customer, who is locked, the card; False where it is theirs already.

    Raises `Problem` 409 where it is somebody else's, or the customer has too many.
    """
    for added in await tx.sql(ADD, number, customer_id, tx.now):
        await _tell_added(tx, customer_id, added, who)
        return True
    ((holder,),) = await tx.sql(HOLDER, number)
    if holder != customer_id:
        raise Problem(
            409,
            "card_taken",
            "This card belongs to another customer; take another card, or look its customer up by the card.",
            field="card_number",
        )
    return False


async def issue(tx: Transaction, customer_id: UUID, who: Actor) -> str:
    """Give the customer, who is locked, a card with the next free number of our own range.

    Cards that were printed before may lie anywhere in the range: the longer the run of taken numbers, the more are
    drawn at once.
    """
    draw = 1
    while True:
        drawn = [own_number(serial) for (serial,) in await tx.sql(DRAW, draw)]
        for added in await tx.sql(ADD_FIRST_FREE, drawn, customer_id, tx.now):
            await _tell_added(tx, customer_id, added, who)
            return str(added.number)
        draw = min(draw * 10, DRAW_MAX)


async def block(tx: Transaction, customer_id: UUID, number: str, who: Actor) -> HeldCard:
    """The card may not be used from now on. Raises `Problem` 404, 410."""
    return await _set_state(tx, customer_id, number, "blocked", who)


async def unblock(tx: Transaction, customer_id: UUID, number: str, who: Actor) -> HeldCard:
    """The card may be used again. Raises `Problem` 404, 410."""
    return await _set_state(tx, customer_id, number, "active", who)


async def replace(tx: Transaction, customer_id: UUID, number: str, successor: str | None, who: Actor) -> HeldCard:
    """Another card, or a newly issued one, takes the place of this one, which is blocked for good (lost, worn out).

    Gives the new one. Raises `Problem` 404, 410, 409 where it was replaced before, and as `add`; 422 for itself.
    """
    customer = await lock_one(tx, customer_id)
    card = _held(customer, number)
    _refuse_replaced(card)
    if successor == number:
        raise Problem(422, "same_card", "A card does not take its own place; name another one.", field="card_number")
    is_new = all(card.number != successor for card in customer.cards)
    if successor is None:
        successor = await issue(tx, customer.id, who)
    elif not await add(tx, customer.id, successor, who) and _held(customer, successor).state != "active":
        raise Problem(409, "card_blocked", "This card is blocked; name one that is not.", field="card_number")
    await tx.sql(REPLACE, number, successor)
    if is_new:
        await tx.sql(SHARE_ORIGIN, number, successor)
    tx.say(Card(card_number=number, customer_id=customer.id, state="blocked", replaced_by=successor))
    await audit.record(tx, customer.id, "card_replaced", who, [number, successor])
    return HeldCard(successor, "active")


async def set_state(tx: Transaction, customer: Customer, card: HeldCard, state: CardState, who: Actor) -> None:
    """Write and say the new state of a card of a customer who is locked."""
    await tx.sql(SET_STATE, card.number, state)
    tx.say(Card(card_number=card.number, customer_id=customer.id, state=state))
    await audit.record(tx, customer.id, "card_blocked" if state == "blocked" else "card_unblocked", who, [card.number])


async def take_along(tx: Transaction, survivor: Customer, merged: Customer) -> None:
    """The survivor holds the cards of the merged record; both are locked. Raises `Problem` 409 where they get too many.

    Each card is told with its state and its successor as they are.
    """
    if merged.cards and len(survivor.cards) + len(merged.cards) > CARDS_MAX:
        raise _too_many()
    await tx.sql(TAKE_ALONG, merged.id, survivor.id)
    _tell_held(tx, survivor.id, merged.cards)


async def go_back(tx: Transaction, merged: Customer) -> None:
    """The cards that came with the merged record, and those got in their place, are its own again; both are locked."""
    returned = await tx.sql(GO_BACK, merged.id)
    _tell_held(tx, merged.id, sorted(HeldCard(*card) for card in returned))


def _tell_held(tx: Transaction, customer_id: UUID, cards: Iterable[HeldCard]) -> None:
    tx.say(
        *(
            Card(card_number=card.number, customer_id=customer_id, state=card.state, replaced_by=card.replaced_by)
            for card in cards
        )
    )


async def _set_state(tx: Transaction, customer_id: UUID, number: str, state: CardState, who: Actor) -> HeldCard:
    customer = await lock_one(tx, customer_id)
    card = _held(customer, number)
    if card.state == state:
        return card
    _refuse_replaced(card)
    await set_state(tx, customer, card, state, who)
    return HeldCard(number, state)


def _held(customer: Customer, number: str) -> HeldCard:
    for card in customer.cards:
        if card.number == number:
            return card
    raise Problem(404, "card_not_found", "This customer has no such card; look the customer up to see which they have.")


def _refuse_replaced(card: HeldCard) -> None:
    if card.replaced_by is not None:
        raise Problem(409, "card_replaced", "Card {card} took the place of this one.", card=card.replaced_by)


def _too_many() -> Problem:
    return Problem(409, "too_many_cards", "A customer holds {cards} cards at most.", cards=CARDS_MAX)


async def _tell_added(tx: Transaction, customer_id: UUID, added: Row, who: Actor) -> None:
    if added.held_before >= CARDS_MAX:
        raise _too_many()
    tx.say(Card(card_number=added.number, customer_id=customer_id, state="active"))
    await audit.record(tx, customer_id, "card_added", who, [added.number])
