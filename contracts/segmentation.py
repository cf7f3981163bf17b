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
Score = Annotated[int, Field(ge=1, le=5, examples=[5])]


class RfmMoved(Event, type="segmentation.rfm_moved.v1", topic="segmentation.events"):
    """The customer has another RFM segment than before."""

    customer_id: CustomerId
    before: RfmSegment | None
    """None where the customer had no segment yet."""
    after: RfmSegment
    recency: Score
    """1 to 5, 5 bought most recently."""
    frequency: Score
    """1 to 5, 5 buys most often."""
    monetary: Score
    """1 to 5, 5 spends most."""
    moved_at: Moment

    @property
    def key(self) -> str:
        return str(self.customer_id)
