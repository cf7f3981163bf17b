"""What feedback keeps. The chat ids and the texts are personal: `erasure.py` removes them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

from chassis.tables import moment, service_metadata

metadata = service_metadata()

customers = sa.Table(
    "customers",
    metadata,
    sa.Column("customer_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("chat_id", sa.BigInteger),
    moment("linked_at", nullable=True),
    sa.Column("stopped_chat_id", sa.BigInteger),
    sa.Column("is_reachable", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("language", sa.Text, nullable=False, server_default="ru"),
    moment("contact_as_of", nullable=True),
    sa.Column("balances", JSONB),
    moment("balances_as_of", nullable=True),
    moment("asked_at", nullable=True),
    moment("erased_at", nullable=True),
    comment="What is known of a customer: chat, language, points. `stopped_chat_id` is the chat that said /stop: it "
    "stays unlinked until its person shares the contact again. Of an erased customer only the id is left.",
)
sa.Index(
    "customers_chat_id_idx",
    customers.c.chat_id,
    customers.c.linked_at,
    postgresql_where=customers.c.chat_id.is_not(None),
)
sa.Index(
    "customers_stopped_chat_id_idx",
    customers.c.stopped_chat_id,
    postgresql_where=customers.c.stopped_chat_id.is_not(None),
)

chats = sa.Table(
    "chats",
    metadata,
    sa.Column("chat_id", sa.BigInteger, primary_key=True),
    sa.Column("language", sa.Text),
    moment("link_asked_at", nullable=True),
    sa.Column("comment_on", UUID(as_uuid=True)),
    moment("comment_until", nullable=True),
    moment("blocked_at", nullable=True),
    moment("seen_at"),
    comment="Where each conversation stands. `comment_on` is the review that the next text belongs to.",
)

telegram_updates = sa.Table(
    "telegram_updates",
    metadata,
    sa.Column("bot_id", sa.BigInteger, primary_key=True),
    sa.Column("update_id", sa.BigInteger, primary_key=True),
    moment("handled_at"),
    sa.Column("failure", sa.Text),
    comment="Updates that were handled: each has its effects once. `failure` is the error of one that had none.",
)
sa.Index("telegram_updates_handled_at_idx", telegram_updates.c.handled_at)

outgoing = sa.Table(
    "outgoing",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("chat_id", sa.BigInteger, nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("appeal_id", UUID(as_uuid=True)),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    moment("due_at"),
    comment="What the bot still has to write into chats, in the order of the ids within a chat.",
)
sa.Index("outgoing_chat_id_id_idx", outgoing.c.chat_id, outgoing.c.id)

questions = sa.Table(
    "questions",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
    sa.Column("receipt_id", sa.Text, nullable=False),
    sa.Column("store_id", sa.Text, nullable=False),
    moment("asked_at"),
    sa.UniqueConstraint("receipt_id"),
    comment="The NPS questions that were asked, one a receipt at most.",
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("question_id", UUID(as_uuid=True), nullable=False),
    sa.Column("customer_id", UUID(as_uuid=True), nullable=False),
    sa.Column("receipt_id", sa.Text, nullable=False),
    sa.Column("store_id", sa.Text, nullable=False),
    sa.Column("score", sa.SmallInteger, nullable=False),
    moment("left_at"),
    sa.Column("comment", sa.Text),
    moment("commented_at", nullable=True),
    sa.UniqueConstraint("question_id"),
    sa.CheckConstraint("score BETWEEN 0 AND 10", name="score"),
    sa.CheckConstraint("length(comment) <= 1000", name="comment"),
    comment="Answers to the NPS question. An erased customer's comment is gone, the score stays.",
)
sa.Index("reviews_left_at_idx", reviews.c.left_at)
sa.Index("reviews_store_id_left_at_idx", reviews.c.store_id, reviews.c.left_at)
sa.Index("reviews_customer_id_id_idx", reviews.c.customer_id, reviews.c.id)

appeals = sa.Table(
    "appeals",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("customer_id", UUID(as_uuid=True)),
    sa.Column("chat_id", sa.BigInteger),
    sa.Column("text", sa.Text),
    moment("opened_at"),
    sa.Column("answer", sa.Text),
    moment("answered_at", nullable=True),
    sa.Column("delivery", sa.Text),
    moment("delivery_at", nullable=True),
    sa.UniqueConstraint("number"),
    sa.CheckConstraint("length(text) <= 4096", name="text"),
    sa.CheckConstraint("length(answer) <= 3500", name="answer"),
    sa.CheckConstraint("delivery IN ('waiting', 'delivered', 'undeliverable')", name="delivery"),
    comment="What people wrote beside the reviews, and our answers. No customer: the chat was not linked yet. No chat "
    "and no text: erased.",
)
sa.Index("appeals_open_idx", appeals.c.id, postgresql_where=appeals.c.answered_at.is_(None))
sa.Index("appeals_customer_id_id_idx", appeals.c.customer_id, appeals.c.id)
sa.Index("appeals_chat_id_opened_at_idx", appeals.c.chat_id, appeals.c.opened_at)
