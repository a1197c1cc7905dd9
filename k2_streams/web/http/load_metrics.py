"""What `/metrics` says of the web's load: connections, and what answers on their way hold."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from k2_streams.web.http.connections import Connections
from k2_streams.web.http.room import Room


class LoadMetrics(Collector):
    """Reads the bounds when it is asked; registers itself."""

    def __init__(self, registry: CollectorRegistry, connections: Connections, room: Room) -> None:
        self._connections = connections
        self._room = room
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The figures now."""
        connections = self._connections
        yield GaugeMetricFamily("k2_http_connections", "Open connections.", len(connections))
        closed = CounterMetricFamily(
            "k2_http_connections_closed",
            "Connections closed by their bounds.",
            labels=("reason",),
        )
        for reason in ("evicted", "timed_out", "refused"):
            closed.add_metric((reason,), getattr(connections, reason))
        yield closed
        yield GaugeMetricFamily(
            "k2_http_answers_bytes", "What answers on their way hold.", self._room.held_bytes
        )
