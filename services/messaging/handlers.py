"""What messaging does on each record that it hears."""

from collections.abc import Sequence
from typing import Final

from chassis.envelope import Unprocessable
from chassis.hears import Hears
from chassis.transaction import Transaction
from contracts.customers import Contact, ContactErased
from contracts.limits import PointsCorrected
from contracts.loyalty import (
    OperationReversed,
    PointsAccrued,
    PointsActivated,
    PointsAdjusted,
    PointsExpiring,
    PointsReturned,
)
from contracts.messaging import SendMessage
from services.messaging.acceptance import Asked, accept
from services.messaging.contacts import erase_contact, keep_contacts
from services.messaging.news import (
    activation_news,
    adjustment_news,
    correction_news,
    expiry_news,
    purchase_news,
    return_news,
    reversal_news,
)
from services.messaging.texts import parameters_of

hears = Hears()

BUTTONS_MAX: Final = 100
BUTTON_DATA_MAX_BYTES: Final = 64
"""Telegram's limits of an inline keyboard (Bot API, InlineKeyboardButton.callback_data)."""


@hears.many(Contact)
async def contacts_changed(contacts: Sequence[Contact], tx: Transaction) -> None:
    await keep_contacts(tx, contacts)


@hears(ContactErased)
async def contact_erased(erased: ContactErased, tx: Transaction) -> None:
    await erase_contact(tx, erased)


@hears.many(PointsAccrued)
async def points_accrued(events: Sequence[PointsAccrued], tx: Transaction) -> None:
    await accept(tx, [news for event in events if (news := purchase_news(tx, event)) is not None])


@hears.many(PointsReturned)
async def points_returned(events: Sequence[PointsReturned], tx: Transaction) -> None:
    await accept(tx, [return_news(tx, event) for event in events])


@hears.many(PointsExpiring)
async def points_expiring(events: Sequence[PointsExpiring], tx: Transaction) -> None:
    await accept(tx, [expiry_news(tx, event) for event in events])


@hears.many(PointsActivated)
async def points_activated(events: Sequence[PointsActivated], tx: Transaction) -> None:
    await accept(tx, [activation_news(tx, event) for event in events])


@hears.many(PointsAdjusted)
async def points_adjusted(events: Sequence[PointsAdjusted], tx: Transaction) -> None:
    await accept(tx, [adjustment_news(tx, event) for event in events])


@hears.many(OperationReversed)
async def operations_reversed(events: Sequence[OperationReversed], tx: Transaction) -> None:
    await accept(tx, [reversal_news(tx, event) for event in events])


@hears.many(PointsCorrected)
async def points_corrected(events: Sequence[PointsCorrected], tx: Transaction) -> None:
    await accept(tx, [news for event in events if (news := correction_news(tx, event)) is not None])


@hears.many(SendMessage)
async def messages_asked_for(commands: Sequence[SendMessage], tx: Transaction) -> None:
    await accept(tx, [asked for command in commands if (asked := _asked(command, tx)) is not None])


def _asked(command: SendMessage, tx: Transaction) -> Asked | None:
    """None where the command is refused."""
    try:
        parameters = parameters_of(command.template, command.parameters)
    except Unprocessable as why:
        tx.refuse(command, why.reason, why.detail)
        return None
    if (fault := _fault_of_buttons(command)) is not None:
        tx.refuse(command, "bad_buttons", fault)
        return None
    return Asked(
        by=command,
        message_key=command.message_key,
        customer_id=command.customer_id,
        template=command.template,
        parameters=parameters,
        purpose=command.purpose,
        buttons=command.buttons,
        expires_at=command.expires_at,
    )


def _fault_of_buttons(command: SendMessage) -> str | None:
    buttons = [button for row in command.buttons for button in row]
    if len(buttons) > BUTTONS_MAX:
        return f"buttons: {len(buttons)} are given, at most {BUTTONS_MAX} are taken"
    if any(len(button.data.encode()) > BUTTON_DATA_MAX_BYTES for button in buttons):
        return f"buttons.data: is longer than {BUTTON_DATA_MAX_BYTES} bytes of UTF-8"
    return None
