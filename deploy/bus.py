"""The bus, as an operator's command looks at it."""

import contextlib
from collections.abc import AsyncIterator

from chassis.topic_reading import BusTrouble, TopicReader
from deploy.trouble import Trouble
from deploy.words import _


@contextlib.asynccontextmanager
async def looking_at_bus(bootstrap: str) -> AsyncIterator[TopicReader]:
    """A reader of the topics; raises Trouble where Kafka does not answer."""
    try:
        async with TopicReader(bootstrap) as bus:
            yield bus
    except BusTrouble as error:
        raise Trouble(
            _("{service} does not answer at {url} ({reason}); is it running? See `kopilka status`").format(
                service="Kafka", url=bootstrap, reason=type(error).__name__
            )
        ) from None
