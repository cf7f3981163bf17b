"""Making the declared topics, and those of a service's dead letters. No topic is made by accident."""

from collections.abc import Iterable

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from chassis.hears import Hears
from contracts.topics import TOPICS, Topic, dead_letter_topic

log = structlog.get_logger()


def topics_of(group: str, hears: Hears) -> list[Topic]:
    """Every declared topic (a service may say on any it is asked to), and the group's dead-letter topics."""
    return list(TOPICS.values()) + [dead_letter_topic(topic, group) for topic in hears.topics]


async def provision(bootstrap_servers: str, topics: Iterable[Topic], *, replication: int) -> list[str]:
    """Create those that are missing, and name them; raises `KafkaError`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in existing]
        if not missing:
            return []
        response = await admin.create_topics(
            [NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.config) for topic in missing]
        )
        for name, code, *message in response.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise for_code(code)(f"{name}: {message[0] if message else ''}")
    finally:
        await admin.close()
    log.info("topics_created", topics=[topic.name for topic in missing])
    return [topic.name for topic in missing]
