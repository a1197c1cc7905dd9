"""What the HTTP server reports, for the server's own interface (`web.services.Telemetry`)."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from k2_streams.runtime.metrics.table import HttpMetrics


class WebMetrics:
    """Counts requests and connections, and writes the scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.http = HttpMetrics(registry)
        self._registry = registry

    def request_answered(
        self, method: str, path: str, status: int, duration_s: float, trace_id: str = ""
    ) -> None:
        """A request ended; method and path come from the server's own lists."""
        self.http.http_requests_total.labels(method, path, str(status)).inc()
        exemplar = {"trace_id": trace_id} if trace_id else None
        self.http.http_request_seconds.labels(path).observe(duration_s, exemplar)

    def connection_closed(self, reason: str) -> None:
        """The connection limits closed a connection."""
        self.http.http_connections_closed_total.labels(reason).inc()

    def measure(self, connections: Callable[[], int], response_bytes: Callable[[], int]) -> None:
        """Read these at each scrape."""
        self.http.http_connections.set_function(connections)
        self.http.http_response_memory_bytes.set_function(response_bytes)

    def streams(self, count: int) -> None:
        """So many streams are open."""
        self.http.streams.set(count)

    def stream_refused(self) -> None:
        """All places for streams were taken."""
        self.http.streams_refused_total.inc()

    def rows_streamed(self, rows: int, late_s: float | None) -> None:
        """Rows were given; where they are paced, so long after they were due."""
        self.http.stream_rows_total.inc(rows)
        if late_s is not None:
            self.http.stream_pace_error_seconds.observe(late_s)

    def stream_fell_back(self) -> None:
        """A stream's reader fell behind the tail."""
        self.http.stream_fallbacks_total.inc()

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """All metrics of the registry in the format that the caller takes, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
