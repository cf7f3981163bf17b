"""What the customers service says and hears: who the customer is, how to reach them, which cards they hold."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from contracts.fields import CardNumber, Channel, CustomerId, Language, Moment, Phone
from contracts.records import Command, Event, Part, State, Tombstone

Name = Annotated[str, StringConstraints(max_length=100), Field(examples=["Анна"])]
TimeZone = Annotated[str, StringConstraints(max_length=64), Field(examples=["Europe/Moscow"])]
ChatId = Annotated[int, Field(description="Telegram chat with the customer.", examples=[100500])]


class _OfCustomer(Event):
    customer_id: CustomerId

    @property
    def key(self) -> str:
        return str(self.customer_id)


class CustomerRegistered(_OfCustomer, type="customers.customer_registered.v1", topic="customers.events"):
    """A customer is known from now on."""

    registered_at: Moment
    source: Annotated[Literal["till", "bot", "operator", "import"], Field(examples=["till"])]
    """Where the customer came from."""


class CustomerChanged(_OfCustomer, type="customers.customer_changed.v1", topic="customers.events"):
    """Something about the customer changed; the new values are in `customers.contacts`."""

    changed: Annotated[list[str], Field(min_length=1, examples=[["phone", "language"]])]
    """Names of the changed fields, never their values."""


class ConsentGiven(_OfCustomer, type="customers.consent_given.v1", topic="customers.events"):
    """The customer allows advertising on a channel."""

    channel: Channel
    given_at: Moment
    source: Annotated[Literal["till", "bot", "operator", "import"], Field(examples=["bot"])]


class ConsentWithdrawn(_OfCustomer, type="customers.consent_withdrawn.v1", topic="customers.events"):
    """The customer no longer allows advertising on a channel."""

    channel: Channel
    withdrawn_at: Moment
    source: Annotated[Literal["till", "bot", "operator", "import"], Field(examples=["bot"])]


class CustomerErased(_OfCustomer, type="customers.customer_erased.v1", topic="customers.events"):
    """The customer's personal data is to be removed everywhere; what they did stays, without a person."""

    erased_at: Moment


class Consent(Part):
    """One recorded consent to advertising."""

    channel: Channel
    given_at: Moment


class Contact(State, type="customers.contact.v1", topic="customers.contacts"):
    """How to reach and address the customer: the only topic with personal data."""

    customer_id: CustomerId
    first_name: Name | None = None
    last_name: Name | None = None
    birth_date: Annotated[date, Field(examples=["1990-04-12"])] | None = None
    phone: Phone | None = None
    email: Annotated[str, StringConstraints(max_length=254), Field(examples=["anna@example.org"])] | None = None
    telegram_chat_id: ChatId | None = None
    language: Language = "ru"
    time_zone: TimeZone = "Europe/Moscow"
    """IANA time zone of the customer: quiet hours and birthdays are computed in it."""
    consents: list[Consent] = []
    """Channels on which the customer allows advertising."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class ContactErased(Tombstone, type="customers.contact_erased.v1", topic="customers.contacts"):
    """Whoever keeps the customer's contact removes it."""

    customer_id: CustomerId

    @property
    def key(self) -> str:
        return str(self.customer_id)


class Card(State, type="customers.card.v1", topic="customers.cards"):
    """Whose card it is and whether it may be used."""

    card_number: CardNumber
    customer_id: CustomerId
    state: Annotated[Literal["active", "blocked"], Field(examples=["active"])] = "active"

    @property
    def key(self) -> str:
        return self.card_number


class LinkTelegram(Command, type="customers.link_telegram.v1", topic="customers.commands"):
    """Somebody shared their own contact with the bot: link the chat to the customer with this phone, or register one.

    The topic keeps commands for a day at most, since this one carries personal data in transit.
    """

    phone: Phone
    telegram_chat_id: ChatId
    first_name: Name | None = None
    last_name: Name | None = None
    language: Language = "ru"

    @property
    def key(self) -> str:
        return self.phone
