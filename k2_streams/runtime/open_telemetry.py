"""Spans by OpenTelemetry, sent as OTLP over HTTP. Imported where traces are on, and nowhere else.

Its conventions for messaging are not stable and its instrumentation is in beta: K2 writes its few
spans itself. Sampling is the library's own: `OTEL_TRACES_SAMPLER`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Status, StatusCode, get_current_span
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from k2_streams.traces import Attribute

#: Spans that wait for a collector that is away; more are dropped. At 1 KiB each, 4 MiB.
QUEUE_SPANS = 4_096
BATCH_SPANS = 512
SEND_EVERY_S = 5.0
#: Of one request to the collector, and of the last one at the end.
SEND_TIMEOUT_S = 5.0
_NAME = "k2_streams"


class OtlpSpan:
    """A span of OpenTelemetry's as K2 uses it."""

    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.span_id = f"{context.span_id:016x}"

    def set(self, name: str, value: Attribute) -> None:
        """Note what became known meanwhile."""
        self._span.set_attribute(f"k2.{name}", value)

    def fail(self, reason: str) -> None:
        """It did not do what it was for."""
        self._span.set_status(Status(StatusCode.ERROR, reason))


class OtlpTracer:
    """Records spans and hands them over to a processor.

    Args:
        processor: takes them when they have ended.
        service: `service.name`.
        instance: `service.instance.id`.
    """

    def __init__(self, processor: SpanProcessor, service: str, instance: str) -> None:
        resource = Resource.create({"service.name": service, "service.instance.id": instance})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(_NAME)
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def to(cls, endpoint: str, service: str, instance: str) -> "OtlpTracer":
        """One that sends to a collector, from a thread of its own."""
        exporter = OTLPSpanExporter(endpoint, timeout=SEND_TIMEOUT_S)
        processor = BatchSpanProcessor(
            exporter,
            max_queue_size=QUEUE_SPANS,
            schedule_delay_millis=SEND_EVERY_S * 1_000,
            max_export_batch_size=BATCH_SPANS,
            export_timeout_millis=SEND_TIMEOUT_S * 1_000,
        )
        return cls(processor, service, instance)

    @contextmanager
    def span(
        self,
        name: str,
        parent: str | None,
        links: Sequence[str],
        attributes: dict[str, Attribute],
    ) -> Iterator[OtlpSpan]:
        """As `traces.Tracer`."""
        context = None if parent is None else self._propagator.extract({"traceparent": parent})
        named = {f"k2.{key}": value for key, value in attributes.items()}
        linked = [link for one in links if (link := self._link(one)).context.is_valid]
        with self._tracer.start_as_current_span(
            name, context, attributes=named, links=linked
        ) as span:
            yield OtlpSpan(span)

    def _link(self, traceparent: str) -> Link:
        """To what a `traceparent` names; of one that cannot be read the context is not valid."""
        context = self._propagator.extract({"traceparent": traceparent}, Context())
        return Link(get_current_span(context).get_span_context())

    def close(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()
