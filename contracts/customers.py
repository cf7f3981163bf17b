"""What the customers service says and hears: who the customer is, how to reach them, which cards they hold."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from contracts.fields import CardNumber, Channel, Code, CustomerId, Language, Means, Moment, Phone
from contracts.records import Command, Event, State, Tombstone, part

Name = Annotated[
    str, StringConstraints(max_length=100), Means("A person's name, at most 100 characters."), Field(examples=["Анна"])
]
TimeZone = Annotated[
    str, StringConstraints(max_length=64), Means("IANA name of a time zone."), Field(examples=["Europe/Moscow"])
]
Source = Annotated[Literal["till", "bot", "operator", "import"], Field(examples=["till"])]
ChatId = Annotated[int, Means("Id of the Telegram chat with the customer."), Field(examples=[100500])]


class _OfCustomer(Event):
    customer_id: CustomerId
    """Who it is about."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class CustomerRegistered(_OfCustomer, type="customers.customer_registered.v1", topic="customers.events"):
    """A customer is known from now on."""

    registered_at: Moment
    """When the customer was registered."""
    source: Source
    """Where the customer came from."""


class CustomerChanged(_OfCustomer, type="customers.customer_changed.v1", topic="customers.events"):
    """Something about the customer changed; the new values are in `customers.contacts`."""

    changed: Annotated[list[str], Field(min_length=1, examples=[["phone", "language"]])]
    """Names of the changed fields, never their values."""


class ConsentGiven(_OfCustomer, type="customers.consent_given.v1", topic="customers.events"):
    """The customer allows advertising on a channel."""

    channel: Channel
    """The channel that is allowed."""
    given_at: Moment
    """When the customer gave the consent."""
    source: Source
    """Where the customer said so."""


class ConsentWithdrawn(_OfCustomer, type="customers.consent_withdrawn.v1", topic="customers.events"):
    """The customer no longer allows advertising on a channel."""

    channel: Channel
    """The channel that is no longer allowed."""
    withdrawn_at: Moment
    """When the customer withdrew the consent."""
    source: Source
    """Where the customer said so."""


class CustomerBlocked(_OfCustomer, type="customers.customer_blocked.v1", topic="customers.events"):
    """From now on the customer neither earns nor spends points; what they have stays theirs."""

    blocked_at: Moment
    """When the customer was blocked."""
    reason: Annotated[Code, Field(examples=["suspected_fraud"])]
    """Why, as a word that the chain chose."""


class CustomerUnblocked(_OfCustomer, type="customers.customer_unblocked.v1", topic="customers.events"):
    """The customer earns and spends points again."""

    unblocked_at: Moment
    """When the block was taken back."""


class CustomersMerged(_OfCustomer, type="customers.customers_merged.v1", topic="customers.events"):
    """Two records are one person: the one is part of the other from now on, its cards with it."""

    merged_id: CustomerId
    """The record that is part of it from now on."""
    merged_at: Moment
    """When they were merged."""


class CustomersUnmerged(_OfCustomer, type="customers.customers_unmerged.v1", topic="customers.events"):
    """A merge was undone: the two records are two people again, each with the cards that they had."""

    merged_id: CustomerId
    """The record that is on its own again."""
    unmerged_at: Moment
    """When the merge was undone."""


class CustomerErased(_OfCustomer, type="customers.customer_erased.v1", topic="customers.events"):
    """The customer's personal data is to be removed everywhere; what they did stays, without a person."""

    erased_at: Moment
    """When the customer was erased."""


@part
class Consent:
    """One recorded consent to advertising."""

    channel: Channel
    """The channel that is allowed."""
    given_at: Moment
    """When the consent was given."""


class Contact(State, type="customers.contact.v1", topic="customers.contacts"):
    """How to reach and address the customer: the only topic with personal data."""

    customer_id: CustomerId
    """Whose contact it is."""
    first_name: Name | None = None
    """How the customer is addressed."""
    last_name: Name | None = None
    """The customer's family name."""
    birth_date: Annotated[date, Means("A date, YYYY-MM-DD."), Field(examples=["1990-04-12"])] | None = None
    """The customer's birthday."""
    phone: Phone | None = None
    """The customer's telephone."""
    email: (
        Annotated[
            str, StringConstraints(max_length=254), Means("An e-mail address."), Field(examples=["anna@example.org"])
        ]
        | None
    ) = None
    """The customer's e-mail."""
    telegram_chat_id: ChatId | None = None
    """The chat where the bot may write to the customer, once the customer linked it."""
    language: Language = "ru"
    """The language to write in."""
    time_zone: TimeZone = "Europe/Moscow"
    """The customer's time zone: quiet hours and birthdays are computed in it."""
    consents: list[Consent] = Field(default=[])
    """Channels on which the customer allows advertising."""
    unreachable: list[Channel] = Field(default=[])
    """Channels on which messages no longer arrive (bot blocked, chat gone), until they get a new address."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class ContactErased(Tombstone, type="customers.contact_erased.v1", topic="customers.contacts"):
    """Whoever keeps the customer's contact removes it."""

    customer_id: CustomerId
    """Whose contact is to be removed."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class Card(State, type="customers.card.v1", topic="customers.cards"):
    """Whose card it is and whether it may be used."""

    card_number: CardNumber
    """The card."""
    customer_id: CustomerId
    """Whose card it is."""
    state: Annotated[Literal["active", "blocked"], Field(examples=["active"])] = "active"
    """Whether purchases by this card earn and spend points."""
    replaced_by: CardNumber | None = None
    """The card that took the place of this one, which is blocked for good: what it opened, that one opens."""

    @property
    def key(self) -> str:
        return self.card_number


class LinkTelegram(Command, type="customers.link_telegram.v1", topic="customers.commands"):
    """Somebody shared their own contact with the bot: link the chat to the customer with this phone, or register one.

    The topic keeps commands for a day at most, since this one carries personal data in transit.
    """

    phone: Phone
    """The telephone that Telegram vouches for."""
    telegram_chat_id: ChatId
    """The chat to be linked."""
    first_name: Name | None = None
    """As the contact in Telegram says; used where the customer is new."""
    last_name: Name | None = None
    """As the contact in Telegram says; used where the customer is new."""
    language: Language = "ru"
    """The language of the person's Telegram."""

    @property
    def key(self) -> str:
        return self.phone


class UnlinkTelegram(Command, type="customers.unlink_telegram.v1", topic="customers.commands"):
    """The person in a chat wants no more messages there: take the chat from the customer, if it is still theirs.

    A later LinkTelegram of the same chat counts more, whichever of the two is heard first. Consents to advertising in
    Telegram that were given before are withdrawn by it, and come back by no link.
    """

    customer_id: CustomerId
    """Whose chat it is."""
    telegram_chat_id: ChatId
    """The chat to be taken away."""

    @property
    def key(self) -> str:
        return str(self.customer_id)
