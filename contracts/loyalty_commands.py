"""What is asked of the loyalty service: points given or taken on an occasion, without a purchase."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from contracts.fields import MAX_MINOR, Code, CustomerId, Id, Means, Moment
from contracts.records import Command

Occasion = Annotated[
    Literal["registration", "birthday", "referral", "activity", "promotion", "gift", "compensation"],
    Field(examples=["birthday"]),
]
SomePoints = Annotated[
    int, Field(ge=1, le=MAX_MINOR, examples=[300]), Means("Points, an integer in the smallest unit of their currency.")
]
TriggerName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$"),
    Means("The trigger's own name: Latin letters, digits and the signs ._@- alone."),
    Field(examples=["birthday_week"]),
]


class _OnOccasion(Command):
    command_id: Id
    """This command; one that comes again, however often, is carried out once."""
    customer_id: CustomerId
    """Whose points."""
    points: SomePoints
    """How many."""
    account: Annotated[Code, Field(examples=["main"])] = "main"
    """The kind of account."""
    occasion: Occasion
    """The occasion."""
    reason: Annotated[Code, Field(examples=["birthday_2025"])]
    """Why, as a word that the chain chose."""
    trigger: TriggerName
    """Who asks."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class AccruePoints(_OnOccasion, type="loyalty.accrue_points.v1", topic="loyalty.commands"):
    """Give the customer points. A customer whom loyalty does not know yet has an account from now on."""

    activates_at: Moment | None = None
    """From when they can be spent; left out, at once."""
    expires_at: Moment | None = None
    """When they burn; left out, as the programme's terms say."""


class BurnPoints(_OnOccasion, type="loyalty.burn_points.v1", topic="loyalty.commands"):
    """Take points from the customer, soonest-expiring first; fewer than asked are never taken, it is refused then."""
