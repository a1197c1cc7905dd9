"""What a task has made of the records since its last checkpoint, ready to be sent as one."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa

from k2_streams.core.dedup.duplicates import DuplicateCounter
from k2_streams.core.ledger.dead_letters import ACCEPTED_TIME
from k2_streams.core.lines.stats import LineStats
from k2_streams.core.records import events
from k2_streams.core.records.events import AnyEvent, Event
from k2_streams.core.records.log_record import CheckpointHeaders, encode_records
from k2_streams.kafka.transactions import Header, OutputRecord
from k2_streams.runtime.committed_rows import LogRecords
from k2_streams.runtime.limits import DEFAULT_LIMITS
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.state.position import Position
from k2_streams.traces import MAX_LINKS

#: Headers of dead letters that are kept encoded, of each kind: records come many a millisecond.
REMEMBERED_HEADERS = 1_024


#: What a dead letter says of its record.
LETTER_HEADERS = frozenset(
    f"k2.{name}"
    for name in (
        "reason", "field", "detail", "topic", "partition", "offset", "append-time",
        "scope", "session", "sequence", "null", "accepted-time-us",
    )
)  # fmt: skip


class Numbered(NamedTuple):
    """Which number a dead letter's record has, where that could be read."""

    scope: str
    session: str  # as the sequencer found it; "": of none that is kept
    sequence: int

    def told_by(self, letter: OutputRecord) -> OutputRecord:
        """The dead letter with the number in its headers."""
        number = (
            ("k2.scope", self.scope.encode()),
            ("k2.session", self.session.encode()),
            ("k2.sequence", b"%d" % self.sequence),
        )
        return letter._replace(headers=(*letter.headers, *number))


class PartitionProgress(NamedTuple):
    """Where the partition stands after the newest record."""

    append_time_ms: int  # the partition's time: the largest append time worked
    lines: tuple[LineStats, ...]
    held: int  # scopes with gaps that a line may still fill
    oldest_gap_ms: int  # no gap is older than this append time; 0: there is none


class EpochOutputs(NamedTuple):
    """A sealed epoch as records; also what this worker's readers are given of them.

    Attributes:
        records: of the logs.
        many: of all other topics: there may be as many as raw records.
        logs: the rows of `records`.
        events: those of `many` that are events.
    """

    records: list[OutputRecord]
    many: list[OutputRecord]
    logs: list[LogRecords]
    events: list[AnyEvent]


BEGINNING = PartitionProgress(0, (), 0, 0)


@dataclass(slots=True)
class Epoch:
    """Grows while records are processed; sealed once, by a checkpoint."""

    of: TaskOutputs
    position: int  # the next source offset
    progress: PartitionProgress | None = None  # None: no record was worked
    start: int = field(init=False)  # the position at its beginning
    records: int = 0
    size_bytes: int = 0  # of what was fetched and processed; what was drained is not counted
    #: By log.
    rows: defaultdict[str, list[pa.RecordBatch]] = field(default_factory=lambda: defaultdict(list))
    events: list[Event] = field(default_factory=list)
    duplicates: DuplicateCounter = field(default_factory=DuplicateCounter)
    dead_letters: list[OutputRecord] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    feeds: Counter[str] = field(default_factory=Counter)
    #: Known messages without a trade, by feed and what they are counted as.
    controls: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Rows without an optional attribute whose value is unknown, by feed and attribute.
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)
    excess_lines: int = 0  # records by a line beyond those that are tracked
    #: By metric and labels: counted once the epoch is committed.
    figures: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)  # `traceparent`s of its records
    newly_deferred: list[OutputRecord] = field(default_factory=list)
    drained: int = 0
    is_timed: bool = False  # time that passed without a record is part of it
    # The backlog as it is when the epoch is sealed.
    deferred: int = 0  # records that wait
    deferred_from: int | None = None  # none waits below this offset of the source

    def __post_init__(self) -> None:
        """Remember where it began."""
        self.start = self.position

    @property
    def row_count(self) -> int:
        """Rows of all logs."""
        return sum(self.rows_of(stream.log) for stream in self.of.streams)

    def rows_of(self, log: str) -> int:
        """Rows of one log."""
        return sum(batch.num_rows for batch in self.rows[log])

    def add(self, more: "Epoch") -> None:
        """Add what records brought about by themselves; position and progress are not theirs."""
        self.records += more.records
        for log, batches in more.rows.items():
            self.rows[log] += batches
        self.events += more.events
        self.duplicates.update(more.duplicates)
        self.dead_letters += more.dead_letters
        self.verdicts.update(more.verdicts)
        self.reasons.update(more.reasons)
        self.feeds.update(more.feeds)
        self.controls.update(more.controls)
        self.unknown.update(more.unknown)
        self.excess_lines += more.excess_lines
        self.figures.update(more.figures)
        self.links += more.links[: MAX_LINKS - len(self.links)]

    def _letters(self, accepted_time_us: int) -> list[OutputRecord]:
        """The dead letters, with the accepted time of the checkpoint that publishes them."""
        accepted: Header = (ACCEPTED_TIME, b"%d" % accepted_time_us)
        return [one._replace(headers=(*one.headers, accepted)) for one in self.dead_letters]

    def seal(self, partition: int) -> None:
        """Nothing more is added: what was repeated becomes events."""
        self.events += self.duplicates.events(source_partition=partition)

    def published(self, so_far: Mapping[str, int]) -> dict[str, int]:
        """Of each topic how many records were published with this epoch; of the log rows."""
        more = {stream.log: self.rows_of(stream.log) for stream in self.of.streams}
        more[self.of.dead_letter] = len(self.dead_letters)
        if self.of.events is not None:
            more[self.of.events] = len(self.events)
        return {**so_far, **{topic: so_far.get(topic, 0) + count for topic, count in more.items()}}

    def outputs(
        self,
        partition: int,
        position: Position,
        record_rows: int = DEFAULT_LIMITS.log_record_rows,
    ) -> EpochOutputs:
        """The sealed epoch as records.

        There is at least one record of each log, if of no row: readers learn from its headers how
        far the source has been processed, and how many events and dead letters they must have seen.
        """
        of, accepted_time_us = self.of, position.accepted_time_us
        headers = CheckpointHeaders(
            raw_next=self.position,
            deferred_from=self.deferred_from,
            deferred=self.deferred,
            events=0 if of.events is None else position.outputs.get(of.events, 0),
            dead_letters=position.outputs.get(of.dead_letter, 0),
            held=0 if self.progress is None else self.progress.held,
        )
        outputs: list[OutputRecord] = []
        logs: list[LogRecords] = []
        for stream in of.streams:
            log, batches = stream.log, self.rows[stream.log]
            *others, last = encode_records(
                stream.log_schema, batches, partition, accepted_time_us, record_rows
            )
            outputs += [OutputRecord(log, None, one.value) for one in others]
            outputs.append(OutputRecord(log, None, last.value, headers.encode()))
            rows = tuple(one.rows for one in (*others, last))
            logs.append(LogRecords(log, rows, partition, accepted_time_us, headers))
        many = [*self.newly_deferred, *self._letters(accepted_time_us)]
        found: list[AnyEvent] = []
        if of.events is not None:
            found = [events.stamped(event, accepted_time_us) for event in self.events]
            many += [
                OutputRecord(of.events, event.scope.encode(), events.encode(event))
                for event in found
            ]
        return EpochOutputs(outputs, many, logs, found)


def dead_letter(
    *,
    of: TaskOutputs,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: tuple[tuple[str, bytes | None], ...],
    timestamp_ms: int,
    reason: str,
    field_name: str | None,
    detail: str,
) -> OutputRecord:
    """A record that could not be used: its bytes as they came; why, and where from, in headers.

    Headers of the same names that it came with, as a redriven one may, are replaced.
    """
    why = (
        *((name, content) for name, content in headers if name not in LETTER_HEADERS),
        *_blame(reason, field_name or ""),
        ("k2.detail", detail.encode(errors="replace")[:512]),
        *_place(of.source, partition),
        ("k2.offset", b"%d" % offset),
        _append_time(timestamp_ms),
    )
    if key is None and value is None:
        # Kafka has records of neither, its clients refuse to send one.
        return OutputRecord(of.dead_letter, None, b"", (*why, ("k2.null", b"key,value")))
    return OutputRecord(of.dead_letter, key, value, why)


@lru_cache(maxsize=REMEMBERED_HEADERS)
def _blame(reason: str, field_name: str) -> tuple[Header, Header]:
    return ("k2.reason", reason.encode()), ("k2.field", field_name.encode())


@lru_cache(maxsize=REMEMBERED_HEADERS)
def _place(topic: str, partition: int) -> tuple[Header, Header]:
    return ("k2.topic", topic.encode()), ("k2.partition", b"%d" % partition)


@lru_cache(maxsize=REMEMBERED_HEADERS)
def _append_time(timestamp_ms: int) -> Header:
    appended = dt.datetime.fromtimestamp(timestamp_ms / 1000, tz=dt.UTC)
    return "k2.append-time", appended.isoformat().encode()
