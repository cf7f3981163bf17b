"""The topics: who writes them, what they are keyed by, how long they are kept. Nothing else creates a topic."""

from dataclasses import dataclass

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Topic:
    """One declared topic. `retention_ms` is None for a compacted one: its newest value of a key is kept for ever."""

    name: str
    writer: str
    key: str
    about: str
    partitions: int = 6
    retention_ms: int | None = 90 * DAY_MS
    personal: bool = False
    message_max_bytes: int | None = None
    """The largest batch of records that the topic takes; None is the brokers' own limit (a megabyte by default)."""

    @property
    def compacted(self) -> bool:
        return self.retention_ms is None

    @property
    def config(self) -> dict[str, str]:
        """Kafka's own settings of the topic."""
        limit = {} if self.message_max_bytes is None else {"max.message.bytes": str(self.message_max_bytes)}
        if self.compacted:
            return limit | {
                "cleanup.policy": "compact",
                "min.cleanable.dirty.ratio": "0.1",
                "max.compaction.lag.ms": str(DAY_MS),
                "delete.retention.ms": str(7 * DAY_MS),
            }
        return limit | {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


TOPICS = {
    topic.name: topic
    for topic in (
        Topic(
            "pos.purchases",
            "tills",
            "card number, else phone, else customer id",
            "Purchases completed, returned, cancelled.",
            partitions=12,
        ),
        Topic("customers.events", "customers", "customer id", "What happened to a customer's record."),
        Topic(
            "customers.contacts",
            "customers",
            "customer id",
            "How to reach each customer, newest state; a tombstone erases it.",
            retention_ms=None,
            personal=True,
        ),
        Topic("customers.cards", "customers", "card number", "Whose card it is, newest state.", retention_ms=None),
        Topic(
            "customers.commands",
            "feedback",
            "phone; customer id where there is none",
            "Asked of customers by the bot; kept for a day, since a command carries a phone in transit.",
            retention_ms=DAY_MS,
            personal=True,
        ),
        Topic(
            "loyalty.commands",
            "triggers",
            "customer id",
            "Points to be given or taken on an occasion.",
            retention_ms=7 * DAY_MS,
        ),
        Topic("loyalty.events", "loyalty", "customer id", "Every ledger operation, once."),
        Topic("loyalty.balances", "loyalty", "customer id", "What each customer has, newest state.", retention_ms=None),
        Topic("messaging.commands", "feedback", "customer id", "Messages to be sent.", retention_ms=7 * DAY_MS),
        Topic("messaging.events", "messaging", "customer id", "What became of each message."),
        Topic("segmentation.events", "segmentation", "customer id", "Who moved to another RFM segment."),
        Topic("feedback.events", "feedback", "customer id", "Reviews, appeals, Telegram chats linked."),
    )
}


DEAD_LETTER_MAX_BYTES = 8 * 1024 * 1024
"""A larger record, which was small only while compressed, has no copy on the dead-letter topic; the group keeps it."""


def dead_letter_topic(topic: str, group: str) -> Topic:
    """Where `group` puts what it could not process of `topic`; ten days of them are kept, of personal data three."""
    source = TOPICS[topic]
    return Topic(
        f"{topic}.{group}.dlq",
        group,
        source.key,
        f"What {group} could not process of {topic}: original bytes, key and headers, plus the reason.",
        partitions=1,
        retention_ms=(3 if source.personal else 10) * DAY_MS,
        personal=source.personal,
        message_max_bytes=DEAD_LETTER_MAX_BYTES + 1024 * 1024,
    )
