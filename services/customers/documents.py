"""What tills and operators send and get over HTTP."""

from datetime import date, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chassis.actor import Source
from chassis.field_faults import N_
from contracts.fields import CardNumber, Channel, Code, Language
from services.customers.customer import CardState, Customer
from services.customers.profile_fields import BirthDate, Email, PersonName, TimeZone, TypedPhone
from services.customers.registration import Registration


class _Form(BaseModel):
    """A misspelt field is refused, not lost."""

    model_config = ConfigDict(extra="forbid")


class CardForm(_Form):
    """Which card the customer gets: one in the hand, or a new number."""

    card_number: CardNumber | None = None
    issue_card: bool = Field(False, description="True for a new number of the chain's own range.")

    @field_validator("issue_card")
    @classmethod
    def _one_of_both(cls, issue_card: bool, info: Any) -> bool:
        if issue_card and info.data.get("card_number") is not None:
            raise ValueError(N_("leave it out where card_number is given: a customer gets one of both"))
        return issue_card


class WantedCardForm(CardForm):
    """Here one of both is needed."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.card_number is None and not self.issue_card:
            raise ValueError(N_("needs card_number, or issue_card: true"))
        return self


class RegistrationForm(CardForm):
    """Who is registered. Whoever has the phone already keeps their profile, and gets the card."""

    phone: TypedPhone
    first_name: PersonName = None
    last_name: PersonName = None
    birth_date: BirthDate = None
    email: Email = None
    language: Language | None = None
    time_zone: TimeZone | None = None
    consents: Annotated[
        list[Channel],
        Field(max_length=10, description="Channels on which the customer allows advertising.", examples=[["sms"]]),
    ] = []

    def registration(self) -> Registration:
        return Registration(**self.model_dump())


class ProfileForm(_Form):
    """The fields to be changed; the others stay as they are. null empties a field that may be empty."""

    phone: TypedPhone = ""
    first_name: PersonName = None
    last_name: PersonName = None
    birth_date: BirthDate = None
    email: Email = None
    language: Language = "ru"
    time_zone: TimeZone = ""

    def named(self) -> dict[str, Any]:
        """The fields that were sent; the defaults above stand for those that were not."""
        return self.model_dump(exclude_unset=True)


class CardDocument(BaseModel):
    """A card of a customer."""

    model_config = ConfigDict(from_attributes=True)

    number: str = Field(examples=["2900000000018"])
    state: CardState
    replaced_by: str | None = Field(None, description="The card that took its place.")


class ConsentDocument(BaseModel):
    """A channel on which the customer allows advertising."""

    model_config = ConfigDict(from_attributes=True)

    channel: Channel
    given_at: datetime


class BlockForm(_Form):
    """Why the customer is blocked."""

    reason: Code


class BlockDocument(BaseModel):
    """Since when the customer neither earns nor spends points, and why."""

    model_config = ConfigDict(from_attributes=True)

    since: datetime
    reason: str


class MergeForm(_Form):
    """Which record is part of this one from now on."""

    merged_id: UUID


class MergeDocument(BaseModel):
    """The other record of the same person, and since when the two are one."""

    model_config = ConfigDict(from_attributes=True)

    customer_id: UUID
    since: datetime


class CustomerDocument(BaseModel):
    """Who the customer is."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    phone: str | None = Field(examples=["+79161234567"])
    first_name: str | None
    last_name: str | None
    birth_date: date | None
    email: str | None
    telegram_chat_id: int | None = Field(description="The Telegram chat that the customer linked by the bot.")
    language: Language
    time_zone: str
    source: Source = Field(description="Where the customer came from.")
    registered_at: datetime
    blocked: BlockDocument | None = Field(description="Where the customer is blocked.")
    merged_into: MergeDocument | None = Field(description="The record that this one is part of: go on with that one.")
    merged: list[MergeDocument] = Field(description="The records that are part of this one.")
    consents: list[ConsentDocument]
    unreachable: list[Channel] = Field(description="Channels on which messages no longer arrive.")
    cards: list[CardDocument]

    @classmethod
    def of(cls, customer: Customer) -> Self:
        return cls.model_validate(customer)
