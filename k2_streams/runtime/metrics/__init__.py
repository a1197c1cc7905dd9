"""The metrics of a worker: declared in `table`, one group per subsystem, one registry."""

from k2_streams.runtime.metrics.worker import Metrics

__all__ = ["Metrics"]
