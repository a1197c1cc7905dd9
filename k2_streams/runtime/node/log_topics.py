"""Which topics a log's checkpoints publish to beside the log itself."""

from typing import NamedTuple

from k2_streams.core.records.source import RawInput
from k2_streams.core.records.stream import Stream
from k2_streams.topology.declarations import RawSource, Topology


class LogTopics(NamedTuple):
    """The topics beside a log, with as many partitions as it has.

    Attributes:
        dead_letters: of records of the log's source that could not be processed; None: the log is a
            ledger's, which has nothing beside it.
        events: of what the sequencer finds; None: nothing is sequenced in the log's source.
        deferred: of records of the log's source that wait under load; None: none ever does.
        source: whose records the log's rows are made of, where it is asked how many are not
            processed yet; None: tasks of the same process know.
    """

    dead_letters: str | None = None
    events: str | None = None
    deferred: str | None = None
    source: str | None = None

    @property
    def counted(self) -> tuple[str, ...]:
        """Those whose records a checkpoint counts."""
        return tuple(one for one in (self.dead_letters, self.events) if one is not None)

    @classmethod
    def of(cls, topology: Topology, stream: Stream, *, with_source: bool = False) -> "LogTopics":
        """Those beside a log of a topology."""
        if stream.is_ledger:
            return cls()
        source = topology.source_of(stream)
        deferred = source.input.deferred if isinstance(source, RawSource) else None
        return cls(
            topology.dead_letter(source),
            topology.events(source),
            deferred,
            source.topic if with_source else None,
        )

    @classmethod
    def of_input(cls, followed: RawInput) -> "LogTopics":
        """Those beside the log of another app's raw topic."""
        return cls(followed.dead_letter, followed.events, followed.deferred)
