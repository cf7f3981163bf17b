"""Trying again in place: for ever, ever more patiently, loudly, for as long as the trouble is the infrastructure's."""

from collections.abc import Callable

import asyncpg
import structlog
import tenacity
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from chassis import metrics
from chassis.database import is_infrastructure_trouble

log = structlog.get_logger()


def may_pass(error: BaseException) -> bool:
    """Whether the same work may succeed later without any change to it."""
    if isinstance(error, CommitFailedError | IllegalStateError):
        return False
    return isinstance(error, KafkaError) or is_infrastructure_trouble(error)


def said_of(error: BaseException | None) -> str:
    """What a log line says of the trouble: the server's own words, without details and parameters, which are values."""
    cause = getattr(error, "orig", None) or error
    words = cause.args[0] if isinstance(cause, asyncpg.PostgresError) else cause
    return f"{type(error).__name__}: {words}"[:300]


def trying(group: str, of: str, *, gives_up: Callable[[], bool], max_wait_s: float = 5) -> tenacity.AsyncRetrying:
    """`async for attempt in trying(…): with attempt: …`; raises what cannot pass, and anything once `gives_up()`."""

    def say(state: tenacity.RetryCallState) -> None:
        metrics.retries.labels(group, of).inc()
        error = state.outcome.exception() if state.outcome else None
        log.warning("trying_again", group=group, of=of, tries=state.attempt_number, error=said_of(error))

    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(may_pass),
        wait=tenacity.wait_exponential_jitter(multiplier=0.1, max=max_wait_s, jitter=0.5),
        stop=lambda _: gives_up(),
        before_sleep=say,
        reraise=True,
    )
