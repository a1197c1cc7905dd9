"""What stands behind a log in one process: what writes its table, and what answers from it."""

from dataclasses import dataclass

from k2_streams.core.records.stream import Stream
from k2_streams.runtime.committed_rows import CommittedRows
from k2_streams.runtime.maintenance.keeper import TableKeeper
from k2_streams.runtime.node.node import Node
from k2_streams.runtime.sinks.runner import SinkRunner


@dataclass(frozen=True, slots=True)
class WrittenLog:
    """A log that tasks of this process write, and that its sink appends to the table."""

    stream: Stream
    sink: SinkRunner
    committed: CommittedRows  # what tasks give to the sink, and to the node of the same log
    keeper: TableKeeper | None = None  # None: maintenance is off


@dataclass(frozen=True, slots=True)
class AnsweredLog:
    """A log that this process answers from, whoever writes it."""

    stream: Stream
    node: Node
