"""Logs: one fact a line, as JSON or for eyes; never personal data."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from chassis.settings import Settings
from chassis.tracebacks import without_messages


def configure_logs(service: str, settings: Settings) -> None:
    """Send structlog's events, and the warnings of libraries, to standard output in one format."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _say_failure,
    ]
    render = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("aiokafka", "uvicorn", "aiogram", "httpx", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(service=service)


def _say_failure(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """An exception as names and places: its message may quote values, and so people."""
    told = event.pop("exc_info", None)
    error = told if isinstance(told, BaseException) else (sys.exc_info() if told is True else told or (None, None))[1]
    if error is not None:
        event["failure"] = without_messages(error)
    return event
