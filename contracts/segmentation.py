"""What segmentation says: the customer's RFM segment moved."""

from typing import Annotated, Literal

from pydantic import Field

from contracts.fields import CustomerId, Moment
from contracts.records import Event

RfmSegment = Literal[
    "hibernating",
    "at_risk",
    "cant_lose",
    "about_to_sleep",
    "need_attention",
    "loyal",
    "promising",
    "new",
    "potential_loyalist",
    "champions",
]
_Segment = Annotated[RfmSegment, Field(examples=["promising"])]
Score = Annotated[int, Field(ge=1, le=5, examples=[5])]


class RfmMoved(Event, type="segmentation.rfm_moved.v1", topic="segmentation.events"):
    """The customer has another RFM segment than before."""

    customer_id: CustomerId
    """Who moved."""
    before: _Segment | None = None
    """None where the customer had no segment: nothing was bought within the window."""
    after: _Segment | None = None
    """None where the last purchase left the window; the scores are None as well."""
    recency: Score | None = None
    """1 to 5, 5 bought most recently."""
    frequency: Score | None = None
    """1 to 5, 5 buys most often."""
    monetary: Score | None = None
    """1 to 5, 5 spends most."""
    moved_at: Moment
    """When the segments were computed."""

    @property
    def key(self) -> str:
        return str(self.customer_id)
