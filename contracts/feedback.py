"""What feedback says: what customers tell us through the bot. Texts stay in feedback's own database."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from contracts.fields import CustomerId, Moment, ReceiptId, StoreId
from contracts.records import Event


class _OfCustomer(Event):
    customer_id: CustomerId

    @property
    def key(self) -> str:
        return str(self.customer_id)


class ReviewLeft(_OfCustomer, type="feedback.review_left.v1", topic="feedback.events"):
    """The customer answered the NPS question, or changed the answer."""

    review_id: UUID
    score: Annotated[int, Field(ge=0, le=10, examples=[9])]
    """How likely they are to recommend us, 0 to 10."""
    receipt_id: ReceiptId
    store_id: StoreId
    left_at: Moment


class ReviewCommented(_OfCustomer, type="feedback.review_commented.v1", topic="feedback.events"):
    """The customer added words to a review; the words are in feedback."""

    review_id: UUID
    commented_at: Moment


class AppealOpened(_OfCustomer, type="feedback.appeal_opened.v1", topic="feedback.events"):
    """The customer wrote something that wants an answer."""

    appeal_id: UUID
    opened_at: Moment


class TelegramLinked(_OfCustomer, type="feedback.telegram_linked.v1", topic="feedback.events"):
    """The bot now knows which customer writes in a chat."""

    linked_at: Moment


class TelegramUnlinked(_OfCustomer, type="feedback.telegram_unlinked.v1", topic="feedback.events"):
    """The chat no longer belongs to the customer."""

    unlinked_at: Moment
