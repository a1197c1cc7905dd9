"""The log of a worker: one shape for all lines, with bounds."""

from k2_streams.runtime.logs.formats import LogFormat
from k2_streams.runtime.logs.setup import configure_logs, shape

__all__ = ["LogFormat", "configure_logs", "shape"]
