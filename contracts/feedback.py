"""What feedback says: what customers tell us through the bot. Texts stay in feedback's own database."""

from typing import Annotated

from pydantic import Field

from contracts.fields import CustomerId, Id, Moment, ReceiptId, StoreId
from contracts.records import Event


class _OfCustomer(Event):
    customer_id: CustomerId
    """Who it is about."""

    @property
    def key(self) -> str:
        return str(self.customer_id)


class ReviewLeft(_OfCustomer, type="feedback.review_left.v1", topic="feedback.events"):
    """The customer answered the NPS question, or changed the answer."""

    review_id: Id
    """The review; the same when the answer is changed."""
    score: Annotated[int, Field(ge=0, le=10, examples=[9])]
    """How likely they are to recommend us, 0 to 10."""
    receipt_id: ReceiptId
    """The purchase that the question was about."""
    store_id: StoreId
    """Where that purchase was."""
    left_at: Moment
    """When the customer answered."""


class ReviewCommented(_OfCustomer, type="feedback.review_commented.v1", topic="feedback.events"):
    """The customer added words to a review; the words are in feedback."""

    review_id: Id
    """The review that the words belong to."""
    commented_at: Moment
    """When the customer wrote them."""


class AppealOpened(_OfCustomer, type="feedback.appeal_opened.v1", topic="feedback.events"):
    """The customer wrote something that wants an answer."""

    appeal_id: Id
    """The appeal."""
    opened_at: Moment
    """When the customer wrote."""


class AppealAnswered(_OfCustomer, type="feedback.appeal_answered.v1", topic="feedback.events"):
    """Somebody answered an appeal; the words are in feedback, and on their way to the chat."""

    appeal_id: Id
    """The appeal."""
    answered_at: Moment
    """When it was answered."""


class TelegramLinked(_OfCustomer, type="feedback.telegram_linked.v1", topic="feedback.events"):
    """The bot now knows which customer writes in a chat."""

    linked_at: Moment
    """When the chat was linked."""


class TelegramUnlinked(_OfCustomer, type="feedback.telegram_unlinked.v1", topic="feedback.events"):
    """The chat no longer belongs to the customer."""

    unlinked_at: Moment
    """When the chat was unlinked."""
