"""What an adoption makes: per topic where it begins, and per partition its state. Pure.

Offsets go on where those of the lost topics ended: a row's place in the raw topic and in the log,
and a token, mean what they meant. What was published and is kept for ever (events, dead letters) is
published again, right below the offset at which the table goes on; so is, in the log of the rows,
the last checkpoint, without rows: readers learn from it how far the source was processed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from k2_streams.core.adoption.rebuild import rebuilt
from k2_streams.core.dedup.bloom import Hashes
from k2_streams.core.records.events import Event, encode
from k2_streams.core.records.log_record import CheckpointHeaders, encode_records
from k2_streams.core.records.source import RawInput
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Vector
from k2_streams.core.sequence.expiry import oldest_gap_ms
from k2_streams.core.sequence.step import ScopeState
from k2_streams.kafka.transactions import OutputRecord
from k2_streams.runtime.adoption.evidence import PartitionEvidence


@dataclass(frozen=True, slots=True)
class AdoptedPartition:
    """A partition of the raw topic as its task will find it.

    Attributes:
        evidence: what it is made of.
        states: per scope.
        events: that the ledger lacks.
    """

    evidence: PartitionEvidence
    states: dict[str, ScopeState] = field(default_factory=dict)
    events: tuple[Event, ...] = ()

    @property
    def ids(self) -> dict[int, Hashes]:
        """Trade ids that are remembered, by bucket."""
        return self.evidence.ids

    @property
    def oldest_gap_ms(self) -> int:
        """No gap is older than this append time; 0: there is none."""
        ages = (oldest_gap_ms(state) for state in self.states.values())
        return min((age for age in ages if age), default=0)

    @property
    def missing(self) -> int:
        """Numbers that are missing."""
        return sum(state.missing_numbers for state in self.states.values())


@dataclass(frozen=True, slots=True)
class AdoptedTopic:
    """A topic.

    Attributes:
        name: of it.
        begins: per partition its first offset.
        records: per partition what it then holds, published before.
    """

    name: str
    begins: tuple[int, ...]
    records: tuple[Sequence[OutputRecord], ...]

    @property
    def ends(self) -> tuple[int, ...]:
        """Per partition the offset behind what it holds."""
        return tuple(
            begin + len(records) for begin, records in zip(self.begins, self.records, strict=True)
        )


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """See the module.

    Attributes:
        topics: the raw topic last, so that nothing can be sent before all others are there.
        partitions: of the raw topic.
        deferred: raw records that had been deferred when the newest rows reached the lake: lost.
    """

    topics: tuple[AdoptedTopic, ...]
    partitions: tuple[AdoptedPartition, ...]
    deferred: int


def plan_of(
    source: RawInput,
    vectors: dict[Stream, Vector],
    evidence: Sequence[PartitionEvidence],
) -> AdoptionPlan:
    """The plan.

    Args:
        source: the raw topic.
        vectors: of the tables of its rows and of its ledger.
        evidence: per partition what they hold.
    """
    ledger, numbers = source.ledger, range(len(evidence))
    partitions = tuple(map(_partition, evidence))
    checkpoints = [[_checkpoint(source, at, one)] for at, one in enumerate(partitions)]
    events = [[_event(source, one) for one in part.events] for part in evidence]
    letters = [part.letters for part in evidence]

    def topic(stream: Stream, records: Sequence[Sequence[OutputRecord]]) -> AdoptedTopic:
        ends = [vectors[stream].next_of(stream.log, number) or 0 for number in numbers]
        kept = tuple(of if end else [] for end, of in zip(ends, records, strict=True))
        begins = tuple(end - len(of) for end, of in zip(ends, kept, strict=True))
        return AdoptedTopic(stream.log, begins, kept)

    nothing: list[list[OutputRecord]] = [[] for _ in numbers]
    offsets = vectors[source.stream].topics.get(source.stream.log)
    return AdoptionPlan(
        (
            topic(source.stream, checkpoints),
            topic(ledger.gap_events, events),
            topic(ledger.dead_letters, letters),
            topic(ledger.levels, nothing),
            topic(ledger.repairs, nothing),
            AdoptedTopic(source.raw, tuple(one.raw_next for one in evidence), tuple(nothing)),
        ),
        partitions,
        0 if offsets is None else sum(offsets.deferred.values()),
    )


def _event(source: RawInput, event: Event) -> OutputRecord:
    return OutputRecord(source.events, event.scope.encode(), encode(event))


def _checkpoint(source: RawInput, number: int, adopted: AdoptedPartition) -> OutputRecord:
    """The last checkpoint of a partition, as its log had it, without rows."""
    evidence = adopted.evidence
    headers = CheckpointHeaders(
        raw_next=evidence.raw_next,
        deferred=0,
        events=len(evidence.events) + len(adopted.events),
        dead_letters=len(evidence.letters),
        held=0,
    )
    stream = source.stream
    (made,) = encode_records(stream.log_schema, [], number, evidence.newest_us)
    return OutputRecord(stream.log, None, made.value, headers.encode())


def _partition(evidence: PartitionEvidence) -> AdoptedPartition:
    states: dict[str, ScopeState] = {}
    events: list[Event] = []
    for one in evidence.scopes:
        found = rebuilt(one)
        if found is not None:
            states[one.scope] = found.state
            events += found.events
    return AdoptedPartition(evidence, states, tuple(events))
