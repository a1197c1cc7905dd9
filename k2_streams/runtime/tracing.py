"""Traces as a worker's settings want them. OpenTelemetry is imported only where they want any."""

from collections.abc import Callable
from importlib.util import find_spec

from k2_streams import traces
from k2_streams.importing import import_when_used

_MODULE = "k2_streams.runtime.open_telemetry"
EXTRA = "k2-streams[traces]"


def is_installed() -> bool:
    """Whether the packages of the extra are there. Imports none of them."""
    try:
        return find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:
        return False


def start_traces(endpoint: str | None, service: str, instance: str) -> Callable[[], None]:
    """Send the spans of this process to a collector.

    Args:
        endpoint: its address for OTLP over HTTP; None: no traces.
        service: `service.name` of every span.
        instance: `service.instance.id`.

    Returns:
        What ends it: spans that wait are sent, within seconds.
    """
    if endpoint is None:
        return lambda: None
    tracer = import_when_used(_MODULE).OtlpTracer.to(endpoint, service, instance)
    traces.start(tracer)

    def end() -> None:
        traces.start(None)
        tracer.close()

    return end
