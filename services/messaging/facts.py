"""What messaging says of a message."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from contracts.fields import Channel
from contracts.messaging import MessageAccepted, MessageFailed, MessageOutcomeUnknown, MessageSent


class Named(Protocol):
    """What every fact names a message by: a row of `messages`, or a claim."""

    @property
    def id(self) -> UUID: ...
    @property
    def message_key(self) -> str: ...
    @property
    def customer_id(self) -> UUID: ...
    @property
    def template(self) -> str: ...


def accepted(message: Named, channel: Channel, at: datetime) -> MessageAccepted:
    """It waits to be sent."""
    return MessageAccepted(
        message_id=message.id,
        message_key=message.message_key,
        customer_id=message.customer_id,
        template=message.template,
        channel=channel,
        accepted_at=at,
    )


def sent(message: Named, channel: Channel, at: datetime, cost_micros: int, currency: str) -> MessageSent:
    """The provider took it."""
    return MessageSent(
        message_id=message.id,
        message_key=message.message_key,
        customer_id=message.customer_id,
        template=message.template,
        channel=channel,
        sent_at=at,
        cost_micros=cost_micros,
        currency=currency,
    )


def failed(message: Named, channel: Channel | None, reason: str, at: datetime) -> MessageFailed:
    """It was not sent and will not be by itself."""
    return MessageFailed(
        message_id=message.id,
        message_key=message.message_key,
        customer_id=message.customer_id,
        template=message.template,
        channel=channel,
        reason=reason,
        failed_at=at,
    )


def outcome_unknown(message: Named, channel: Channel, at: datetime) -> MessageOutcomeUnknown:
    """The provider may have taken it or not."""
    return MessageOutcomeUnknown(
        message_id=message.id,
        message_key=message.message_key,
        customer_id=message.customer_id,
        template=message.template,
        channel=channel,
        unknown_since=at,
    )
