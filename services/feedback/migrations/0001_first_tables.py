"""Customers' chats, the conversation, reviews and appeals."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

from chassis.migrations import create_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = UUID(as_uuid=True)


def upgrade() -> None:
    create_chassis_tables(op.get_bind())
    _customers()
    _conversation()
    _reviews()
    _appeals()


def _customers() -> None:
    op.create_table(
        "customers",
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("chat_id", sa.BigInteger),
        _moment("linked_at", nullable=True),
        sa.Column("stopped_chat_id", sa.BigInteger),
        sa.Column("is_reachable", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("language", sa.Text, nullable=False, server_default="ru"),
        _moment("contact_as_of", nullable=True),
        sa.Column("balances", JSONB),
        _moment("balances_as_of", nullable=True),
        _moment("asked_at", nullable=True),
        _moment("erased_at", nullable=True),
        sa.PrimaryKeyConstraint("customer_id", name="customers_pkey"),
        comment="What is known of a customer: chat, language, points. `stopped_chat_id` is the chat that said /stop: "
        "it stays unlinked until its person shares the contact again. Of an erased customer only the id is left.",
    )
    op.create_index(
        "customers_chat_id_idx",
        "customers",
        ["chat_id", "linked_at"],
        postgresql_where=sa.text("chat_id IS NOT NULL"),
    )
    op.create_index(
        "customers_stopped_chat_id_idx",
        "customers",
        ["stopped_chat_id"],
        postgresql_where=sa.text("stopped_chat_id IS NOT NULL"),
    )


def _conversation() -> None:
    op.create_table(
        "chats",
        sa.Column("chat_id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("language", sa.Text),
        _moment("link_asked_at", nullable=True),
        sa.Column("comment_on", ID),
        _moment("comment_until", nullable=True),
        _moment("blocked_at", nullable=True),
        _moment("seen_at"),
        sa.PrimaryKeyConstraint("chat_id", name="chats_pkey"),
        comment="Where each conversation stands. `comment_on` is the review that the next text belongs to.",
    )
    op.create_table(
        "telegram_updates",
        sa.Column("bot_id", sa.BigInteger, nullable=False),
        sa.Column("update_id", sa.BigInteger, nullable=False),
        _moment("handled_at"),
        sa.Column("failure", sa.Text),
        sa.PrimaryKeyConstraint("bot_id", "update_id", name="telegram_updates_pkey"),
        comment="Updates that were handled: each has its effects once. `failure` is the error of one that had none.",
    )
    op.create_index("telegram_updates_handled_at_idx", "telegram_updates", ["handled_at"])
    op.create_table(
        "outgoing",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("chat_id", sa.BigInteger, nullable=False),
        sa.Column("body", JSONB, nullable=False),
        sa.Column("appeal_id", ID),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        _moment("due_at"),
        sa.PrimaryKeyConstraint("id", name="outgoing_pkey"),
        comment="What the bot still has to write into chats, in the order of the ids within a chat.",
    )
    op.create_index("outgoing_chat_id_id_idx", "outgoing", ["chat_id", "id"])


def _reviews() -> None:
    op.create_table(
        "questions",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("receipt_id", sa.Text, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        _moment("asked_at"),
        sa.PrimaryKeyConstraint("id", name="questions_pkey"),
        sa.UniqueConstraint("receipt_id", name="questions_receipt_id_key"),
        comment="The NPS questions that were asked, one a receipt at most.",
    )
    op.create_table(
        "reviews",
        sa.Column("id", ID, nullable=False),
        sa.Column("question_id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("receipt_id", sa.Text, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("score", sa.SmallInteger, nullable=False),
        _moment("left_at"),
        sa.Column("comment", sa.Text),
        _moment("commented_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="reviews_pkey"),
        sa.UniqueConstraint("question_id", name="reviews_question_id_key"),
        sa.CheckConstraint("score BETWEEN 0 AND 10", name=op.f("reviews_score_check")),
        sa.CheckConstraint("length(comment) <= 1000", name=op.f("reviews_comment_check")),
        comment="Answers to the NPS question. An erased customer's comment is gone, the score stays.",
    )
    op.create_index("reviews_left_at_idx", "reviews", ["left_at"])
    op.create_index("reviews_store_id_left_at_idx", "reviews", ["store_id", "left_at"])
    op.create_index("reviews_customer_id_id_idx", "reviews", ["customer_id", "id"])


def _appeals() -> None:
    op.create_table(
        "appeals",
        sa.Column("id", ID, nullable=False),
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("customer_id", ID),
        sa.Column("chat_id", sa.BigInteger),
        sa.Column("text", sa.Text),
        _moment("opened_at"),
        sa.Column("answer", sa.Text),
        _moment("answered_at", nullable=True),
        sa.Column("delivery", sa.Text),
        _moment("delivery_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="appeals_pkey"),
        sa.UniqueConstraint("number", name="appeals_number_key"),
        sa.CheckConstraint("length(text) <= 4096", name=op.f("appeals_text_check")),
        sa.CheckConstraint("length(answer) <= 3500", name=op.f("appeals_answer_check")),
        sa.CheckConstraint(
            "delivery IN ('waiting', 'delivered', 'undeliverable')", name=op.f("appeals_delivery_check")
        ),
        comment="What people wrote beside the reviews, and our answers. No customer: the chat was not linked yet. No "
        "chat and no text: erased.",
    )
    op.create_index("appeals_open_idx", "appeals", ["id"], postgresql_where=sa.text("answered_at IS NULL"))
    op.create_index("appeals_customer_id_id_idx", "appeals", ["customer_id", "id"])
    op.create_index("appeals_chat_id_opened_at_idx", "appeals", ["chat_id", "opened_at"])


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def downgrade() -> None:
    raise NotImplementedError("a migration is undone by a new one")
