"""What messaging hears and says: a message to a customer, asked for, accepted, sent, failed or of unknown fate."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from contracts.fields import Channel, Code, Currency, CustomerId, Id, Moment
from contracts.records import Command, Event, part

Parameter = Annotated[str, StringConstraints(max_length=500)] | int


@part
class Button:
    """A button under the message; a press comes back to the bot as `data`."""

    label: Annotated[str, StringConstraints(min_length=1, max_length=64), Field(examples=["10"])]
    """What the button shows."""
    data: Annotated[str, StringConstraints(min_length=1, max_length=64), Field(examples=["nps:019a9f0e:10"])]
    """What the bot gets when it is pressed."""


class SendMessage(Command, type="messaging.send_message.v1", topic="messaging.commands"):
    """Write to a customer by a template. Carries ids and numbers; the text is made by messaging."""

    message_key: Annotated[str, StringConstraints(min_length=1, max_length=200), Field(examples=["nps:019a9f0e"])]
    """The asker's own unique name of this message: asked twice, it is sent once."""
    customer_id: CustomerId
    """Whom to write to."""
    template: Annotated[Code, Field(examples=["nps_question"])]
    """Name of the template."""
    parameters: dict[str, Parameter] = Field(default={}, max_length=50, examples=[{"store_id": "367"}])
    """Values for the template: ids and numbers, no personal data."""
    purpose: Annotated[Literal["service", "advertising"], Field(examples=["service"])]
    """Advertising leaves only with the customer's consent for the channel."""
    buttons: list[list[Button]] = Field(
        default=[], max_length=10, examples=[[[{"label": "10", "data": "nps:019a9f0e:10"}]]]
    )
    """Rows of buttons, on channels that have them."""
    expires_at: Moment | None = None
    """Not sent after that moment."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class _OfMessage(Event):
    message_id: Id
    """The message."""
    message_key: Annotated[str, StringConstraints(max_length=200), Field(examples=["nps:019a9f0e"])]
    """The asker's own unique name of the message."""
    customer_id: CustomerId
    """Whom it is for."""
    template: Annotated[Code, Field(examples=["nps_question"])]
    """Name of the template that it was made by."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class MessageAccepted(_OfMessage, type="messaging.message_accepted.v1", topic="messaging.events"):
    """The message has a text and a channel, and waits to be sent."""

    channel: Channel
    """The channel that it will leave by."""
    accepted_at: Moment
    """When it was accepted."""


class MessageSent(_OfMessage, type="messaging.message_sent.v1", topic="messaging.events"):
    """The provider took the message."""

    channel: Channel
    """The channel that it left by."""
    sent_at: Moment
    """When the provider took it."""
    cost_micros: Annotated[int, Field(ge=0, examples=[0])]
    """What it cost, an integer in millionths of the money's main unit (rouble, dollar)."""
    currency: Currency
    """Money of the cost."""


class MessageFailed(_OfMessage, type="messaging.message_failed.v1", topic="messaging.events"):
    """The message was not sent and will not be."""

    channel: Channel | None = None
    """The channel that was tried; none where the customer has none."""
    reason: Code
    """Why."""
    failed_at: Moment
    """When that was known."""


class MessageOutcomeUnknown(_OfMessage, type="messaging.message_outcome_unknown.v1", topic="messaging.events"):
    """The provider may or may not have taken it; it is never sent again by itself."""

    channel: Channel
    """The channel that was tried."""
    unknown_since: Moment
    """When the provider's answer did not come."""


class ContactWentBad(Event, type="messaging.contact_went_bad.v1", topic="messaging.events"):
    """The customer cannot be reached on a channel any more (bot blocked, chat gone)."""

    customer_id: CustomerId
    """Who cannot be reached."""
    channel: Channel
    """The channel that does not work."""
    reason: Code
    """Why."""
    since: Moment
    """When that was known."""

    @property
    def key(self) -> str:
        return str(self.customer_id)
