"""What would become of raw records if they were sent now, by today's decoder and state."""

import enum
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from k2_streams.core.enrich.instruments import Instruments, positive_prices
from k2_streams.core.records.source import RawInput
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.step import ACCEPTED, Nature, ScopeMessage, ScopeState, Verdict, step
from k2_streams.feeds.feed import Feeds
from k2_streams.kafka.log_reader import Record
from k2_streams.kafka.record_columns import FetchedRecord
from k2_streams.kafka.topics import changelog_topic
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.decoding import DecodedBatch, Decoding
from k2_streams.runtime.task.processing_error import PROCESSING_ERROR, ProcessingError


class ReadTopic(Protocol):
    """Reads the committed records that a partition of a topic holds now, in their order."""

    def __call__(self, topic: str, partition: int) -> AsyncIterator[Sequence[Record]]:
        """The records, in portions."""
        ...


class Foretold(enum.Enum):
    """What becomes of a record."""

    ACCEPTED = "accepted"  # rows, or a control message
    REFUSED = "refused"  # a dead letter again
    PRESENT = "present"  # a duplicate: its number was received meanwhile


class Fate(NamedTuple):
    """What becomes of one record, and why it is refused."""

    outcome: Foretold
    reason: str = ""


_REASONS = {Verdict.STALE: "stale", Verdict.CONFLICTING: "conflicting-duplicate"}


class Outlook:
    """Of the redriven records of one partition, in the order in which they would be sent.

    It knows the state of the last checkpoint and what it has foretold itself. Trades that their id
    identifies are taken for new ones. The sequencer decides when the records arrive.

    Args:
        decoding: of the partition.
        state: of a scope, as the changelog has it; None: there is none.
        horizon_ms: how long a gap waits for late records.
        tolerance_ms: how much later than its session a repeat may be.
    """

    def __init__(
        self,
        decoding: Decoding,
        state: Callable[[str], ScopeState | None],
        horizon_ms: int,
        tolerance_ms: int,
    ) -> None:
        self._decoding = decoding
        self._state = state
        self._horizon_ms = horizon_ms
        self._tolerance_ms = tolerance_ms
        self._states: dict[str, ScopeState | None] = {}

    def of(self, records: Sequence[FetchedRecord]) -> list[Fate]:
        """What becomes of each of these records, at least one."""
        times_ms = np.array([record.timestamp for record in records], np.int64)
        try:
            batch = self._decoding.decode(records, times_ms, times_ms)
        except ProcessingError:
            if len(records) == 1:
                return [Fate(Foretold.REFUSED, PROCESSING_ERROR)]
            half = len(records) // 2
            return [*self.of(records[:half]), *self.of(records[half:])]
        bad = {entry.message: entry.reason for entry in reversed(batch.bad)}
        return [
            Fate(Foretold.REFUSED, bad[at]) if at in bad else self._sequenced(batch, at)
            for at in range(len(records))
        ]

    def _sequenced(self, batch: DecodedBatch, at: int) -> Fate:
        decoded = batch.decoded
        scope, sequence = int(decoded.scope[at]), int(decoded.sequence[at])
        if scope < 0 or sequence < 0:
            return Fate(Foretold.ACCEPTED)
        key, session = decoded.scopes[scope], int(decoded.session[at])
        if key not in self._states:
            self._states[key] = self._state(key)
        description = batch.descriptions[int(batch.feed[at])]
        after = step(
            self._states[key],
            ScopeMessage(
                sequence,
                decoded.sessions[session] if session >= 0 else None,
                int(decoded.event_time_ns[at]),
                key,
                0,
                int(batch.offsets[at]),
                int(batch.append_time_ms[at]),
                Nature.REDRIVEN,
            ),
            description.session_rule,
            self._horizon_ms,
            description.tolerance_ms(self._tolerance_ms),
        )
        self._states[key] = after.state
        if after.verdict in ACCEPTED:
            return Fate(Foretold.ACCEPTED)
        if after.verdict is Verdict.DUPLICATE:
            return Fate(Foretold.PRESENT)
        return Fate(Foretold.REFUSED, _REASONS[after.verdict])


@dataclass(frozen=True, slots=True)
class Outlooks:
    """Makes the outlook of each partition of a raw topic.

    Attributes:
        settings: as the worker has them.
        source: of the raw topic.
        feeds: of its stream.
        instruments: reference data, if the settings name a file.
        partitions: of the topic.
        read: the topics.
    """

    settings: Settings
    source: RawInput
    feeds: Feeds
    instruments: Instruments | None
    partitions: int
    read: ReadTopic

    async def of(self, partition: int) -> Outlook:
        """With the state that the partition's changelog holds.

        Raises:
            SequenceFormatError: a state is of a later version.
        """
        settings, source = self.settings, self.source
        rows: dict[bytes | None, bytes | None] = {}
        table, _ = source.tables
        async for records in self.read(changelog_topic(settings.app_id, table), partition):
            rows |= {record.key: record.value for record in records}

        def state(scope: str) -> ScopeState | None:
            row = rows.get(scope.encode())
            return None if row is None else sequence_codec.decode(row)

        decoding = Decoding(
            self.feeds,
            source.row_schema,
            source.raw,
            partition,
            self.partitions,
            check_partition=settings.check_partition,
            price_domains=self.instruments.price_domain if self.instruments else positive_prices,
        )
        return Outlook(
            decoding, state, settings.late_horizon_s * 1000, settings.conflict_tolerance_ms
        )
