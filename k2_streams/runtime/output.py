"""One log that this worker writes, or answers from alone."""

from dataclasses import dataclass

from k2_streams.core.records.stream import Stream
from k2_streams.runtime.committed_rows import CommittedRows
from k2_streams.runtime.maintenance.keeper import TableKeeper
from k2_streams.runtime.node.node import Node
from k2_streams.runtime.sinks.runner import SinkRunner


@dataclass(frozen=True, slots=True)
class OutputParts:
    """What stands behind a log: its table, through the sink, and its answers, through the node."""

    stream: Stream
    sink: SinkRunner
    node: Node
    committed: CommittedRows  # what tasks give to sink and node
    keeper: TableKeeper | None = None  # None: maintenance is off


@dataclass(frozen=True, slots=True)
class FollowedLog:
    """A log that another app writes, as this worker answers from it."""

    stream: Stream
    node: Node
