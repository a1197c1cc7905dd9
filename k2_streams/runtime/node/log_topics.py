"""Which topics a log's checkpoints publish to beside the log itself."""

from typing import NamedTuple

from k2_streams.core.records.stream import Stream
from k2_streams.topology.declarations import Topology


class LogTopics(NamedTuple):
    """The topics beside a log, with as many partitions as it has.

    Attributes:
        dead_letters: of records of the log's source that could not be processed.
        events: of what the sequencer finds; None: nothing is sequenced in the log's source.
    """

    dead_letters: str
    events: str | None = None

    @classmethod
    def of(cls, topology: Topology, stream: Stream) -> "LogTopics":
        """Those beside a log of a topology."""
        source = topology.source_of(stream)
        return cls(topology.dead_letter(source), topology.events(source))
