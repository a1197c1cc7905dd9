"""Where the tasks of one source write to."""

from dataclasses import dataclass

from k2_streams.core.records.source import RawInput
from k2_streams.core.records.stream import Stream
from k2_streams.topology.declarations import Source, Topology


@dataclass(frozen=True, slots=True)
class TaskOutputs:
    """Of one source; nobody but its tasks writes to these topics.

    Attributes:
        source: the topic that is read.
        streams: whose logs are written, with every checkpoint.
        dead_letter: the topic of records that could not be processed.
        events: the topic of what the sequencer finds; None: nothing is sequenced.
    """

    source: str
    streams: tuple[Stream, ...]
    dead_letter: str
    events: str | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """All of them."""
        events = () if self.events is None else (self.events,)
        return (*(stream.log for stream in self.streams), *events, self.dead_letter)

    @classmethod
    def of_raw(cls, source: RawInput) -> "TaskOutputs":
        """Of a raw topic: its accepted rows, and what the sequencer finds."""
        return cls(source.raw, (source.stream,), source.dead_letter, source.events)

    @classmethod
    def of(cls, topology: Topology, source: Source) -> "TaskOutputs":
        """Of a source as the topology declares it."""
        streams = tuple(one for one in topology.streams if topology.source_of(one) is source)
        return cls(source.topic, streams, topology.dead_letter(source), topology.events(source))
