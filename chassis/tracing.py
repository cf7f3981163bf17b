"""One trace id from the till to the message: W3C trace context, and OpenTelemetry spans where a collector is set."""

import contextlib
import contextvars
from collections.abc import Iterator

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chassis.settings import Settings

_carried: contextvars.ContextVar[str | None] = contextvars.ContextVar("traceparent", default=None)
_propagator = TraceContextTextMapPropagator()


def configure_tracing(service: str, settings: Settings) -> None:
    """Record spans and send them to the collector, if one is set; else trace ids are only handed on."""
    if settings.otlp_endpoint is None:
        return
    # A quarter of a second of every start, for those who have a collector.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": f"kopilka-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint}/v1/traces")))
    trace.set_tracer_provider(provider)


@contextlib.contextmanager
def traced(name: str, traceparent: str | None) -> Iterator[None]:
    """Run under the trace that `traceparent` names, as a span where spans are recorded."""
    parent = _propagator.extract({"traceparent": traceparent}) if traceparent else None
    token = _carried.set(traceparent)
    try:
        with trace.get_tracer("kopilka").start_as_current_span(name, context=parent):
            yield
    finally:
        _carried.reset(token)


def current_traceparent() -> str | None:
    """The trace that a record said now belongs to."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent") or _carried.get()


def trace_id(traceparent: str | None) -> str | None:
    """The 32 hexadecimal digits that name the whole trace."""
    return traceparent.split("-")[1] if traceparent else None
