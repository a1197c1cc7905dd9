"""Raw records in, an epoch out, by the agent of their source.

No I/O here but reads of the state: what is read comes as arguments, what is to be sent grows in the
epoch. All that can fail is done before the epoch or the state is changed, so records that cannot be
processed leave nothing behind.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from k2_streams.core.enrich.instruments import PriceDomains, positive_prices
from k2_streams.core.enrich.notional import Notional, of_ones
from k2_streams.core.enrich.ticks import Ticks
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.horizon import LATE_HORIZON_MS
from k2_streams.core.sequence.sessions import CONFLICT_TOLERANCE_MS
from k2_streams.core.sequence.step import SEQUENCE_LIMITS, ScopeState, SequenceLimits
from k2_streams.feeds.feed import Bad
from k2_streams.feeds.native_feed import with_native
from k2_streams.native import Native
from k2_streams.runtime.fetched import Record, offsets_of, timestamps_ms_of
from k2_streams.runtime.task.decoding import OTHER_FEEDS, Decoding
from k2_streams.runtime.task.epoch import BEGINNING, Epoch, PartitionProgress
from k2_streams.runtime.task.gap_keeper import GAPS, GapKeeper, GapsState
from k2_streams.runtime.task.line_keeper import LINES, LineKeeper, LinesState
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.processing_error import PROCESSING_ERROR, ProcessingError
from k2_streams.runtime.task.raw_context import Change, RawContext, RawRecords, RawSteps
from k2_streams.state.ids import IdTable
from k2_streams.state.position import Position, Section
from k2_streams.state.scope_table import ScopeTable
from k2_streams.topology.declarations import Agent, RawSource
from k2_streams.topology.errors import StateReadError

#: Append times outside are taken for the nearest inside: nothing made of one leaves 64 bits. Kafka
#: allows any, -1 for none among them, on a topic whose times are the producers'.
MIN_APPEND_MS, MAX_APPEND_MS = 0, 9_000_000_000_000  # the year 2255

#: Time that passes without a record is noted this often while a gap is open.
NOTE_MS = 3_600_000

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SequencerOptions:
    """What a deployment sets of how records are sequenced."""

    check_partition: bool = True  # a record whose key belongs elsewhere is a dead letter
    horizon_ms: int = LATE_HORIZON_MS  # how long a gap waits for late records
    price_domains: PriceDomains = positive_prices  # which prices an instrument may have
    tolerance_ms: int = CONFLICT_TOLERANCE_MS  # how much later than its session a repeat may be
    limits: SequenceLimits = SEQUENCE_LIMITS  # what a scope keeps at most
    native: Native | None = None  # decodes the usual records of some feeds


DEFAULT_OPTIONS = SequencerOptions()


#: Where what is encoded on trial would stand.
_ON_TRIAL = Position(source_id="", partitions=1, next_offset=0)


def progress_of(position: Position) -> PartitionProgress:
    """Where a partition stood at a position."""
    lines = LINES.read(position.sections) or LinesState()
    gaps = GAPS.read(position.sections) or GapsState()
    return PartitionProgress(position.append_time_ms, lines.stats, lines.held, gaps.oldest_ms)


class Sequencer:
    """The decisions of one source partition's task."""

    def __init__(
        self,
        agent: Agent,
        partition: int,
        partitions: int,
        table: ScopeTable,
        ids: IdTable,
        *,
        options: SequencerOptions = DEFAULT_OPTIONS,
        progress: PartitionProgress = BEGINNING,
        enriches: Callable[[], bool] = lambda: True,
        notional: Notional = of_ones,
    ) -> None:
        assert isinstance(agent.source, RawSource)  # noqa: S101 - of a log other things run
        source = agent.source.input
        self._agent = agent
        self._outputs = TaskOutputs.of_raw(source)
        self._partition = partition
        self._table = table
        self._ids = ids
        self._now_ms = progress.append_time_ms  # stream time
        self._lines = LineKeeper(table, partition, progress)
        self._gaps = GapKeeper(table, partition, options.horizon_ms, progress.oldest_gap_ms)
        self._ticks = Ticks()
        self._steps = RawSteps(
            source,
            self._outputs,
            partition,
            Decoding(
                with_native(agent.source.feeds, options.native),
                source.row_schema,
                source.raw,
                partition,
                partitions,
                check_partition=options.check_partition,
                price_domains=options.price_domains,
            ),
            self._lines,
            self._state,
            table.columns,
            ids,
            self._ticks,
            options.horizon_ms,
            options.tolerance_ms,
            options.limits,
            enriches,
            notional,
        )

    @property
    def stream_time_ms(self) -> int:
        """The largest append time processed, or that has passed since."""
        return self._now_ms

    def sections(self) -> dict[str, Section]:
        """What the position says of lines and gaps."""
        progress = self._lines.progress(self._now_ms, self._gaps.oldest_ms)
        return {
            LINES.name: LINES.write(LinesState(progress.lines, progress.held)),
            GAPS.name: GAPS.write(GapsState(progress.oldest_gap_ms)),
        }

    def process(
        self, records: Sequence[Record], end: int, epoch: Epoch, *, probe: bool = False
    ) -> None:
        """As `Processing.process`; each scope's records in their order."""
        if records:
            self._take(self._change(records, None, probe=probe), epoch)
        self._move(end, epoch)

    def refuse(self, record: Record, error: ProcessingError, end: int, epoch: Epoch) -> None:
        """Add a record that `process` failed on, alone, as a dead letter.

        Its number counts as received if so much of it can be processed.
        """
        try:
            change = self._change([record], error, probe=True)
        except ProcessingError:
            change = self._unread(record, error)
        self._take(change, epoch)
        self._move(end, epoch)

    @property
    def next_deadline_ms(self) -> int | None:
        """The stream time at which something is decided if no record comes; None: nothing is."""
        deadlines = (self._lines.next_deadline_ms, self._gaps.next_deadline_ms)
        # Time that passed is noted now and then, so that restarts do not begin it anew.
        return min((min(ms, self._now_ms + NOTE_MS) for ms in deadlines if ms), default=None)

    def expire(self, epoch: Epoch) -> None:
        """Abandon old gaps of silent scopes. Nothing older than stream time may be deferred."""
        epoch.events += self._gaps.expired(self._now_ms)
        epoch.progress = self._lines.progress(self._now_ms, self._gaps.oldest_ms)

    def pass_time(self, time_ms: int, epoch: Epoch) -> None:
        """Decide what the next record would bring about before anything of its own.

        Args:
            time_ms: that no record to come is older than; stream time from now on.
            epoch: says it.
        """
        self._now_ms = max(self._now_ms, time_ms)
        epoch.is_timed = True
        self._move(epoch.position, epoch)
        self.expire(epoch)

    # -- what records bring about ----------------------------------------------------------------

    def _change(
        self, records: Sequence[Record], refused: ProcessingError | None, *, probe: bool
    ) -> Change:
        """What records bring about; of `refused`, a single one, no more than its number."""
        context: RawContext | None = None
        try:
            raw = RawRecords(records, *self._times(records))
            refusal = None if refused is None else _refusal(refused)
            context = RawContext(self._agent, self._steps, raw, refusal)
            self._agent.function(raw, context)
            change = context.change()
            if probe:
                self._encode(change)
        except (ProcessingError, StateReadError, MemoryError):
            self._ticks.forget()
            raise
        except Exception as error:
            self._ticks.forget()  # it may have seen rows that never come
            offsets = offsets_of(records)
            feed = None if context is None else context.feed
            place = (self._outputs.source, self._partition)
            raise ProcessingError.of(error, *place, offsets, feed) from error
        return change

    def _encode(self, change: Change) -> None:
        """Encode what a checkpoint will send."""
        change.epoch.outputs(self._partition, _ON_TRIAL)
        if change.stepped is not None:
            for state in change.stepped.states.values():
                sequence_codec.encode(state)

    def _unread(self, record: Record, error: ProcessingError) -> Change:
        """A record of which nothing can be processed."""
        raw = RawRecords([record], *self._times([record]))
        context = RawContext(self._agent, self._steps, raw, None)
        context.refuse(_refusal(error), error.feed or OTHER_FEEDS)
        return context.change()

    def _times(self, records: Sequence[Record]) -> tuple[Indices, Indices]:
        """The append time of each record, and stream time at it."""
        times_ms = np.clip(timestamps_ms_of(records), MIN_APPEND_MS, MAX_APPEND_MS)
        return times_ms, np.maximum.accumulate(np.maximum(times_ms, self._now_ms))

    def _state(self, scope: str) -> ScopeState | None:
        try:
            return self._table.get(scope)
        except Exception as error:
            raise StateReadError(f"scope {scope}: {error}") from error

    # -- taking it -------------------------------------------------------------------------------

    def _take(self, change: Change, epoch: Epoch) -> None:
        """Into the epoch and the state. Nothing here depends on what records hold."""
        self._now_ms = change.stream_time_ms
        stepped = change.stepped
        if stepped is not None:
            self._table.take(stepped.states, stepped.moves)
            self._lines.took(stepped.states)
            self._gaps.took(stepped.states)
            self._lines.count(change.figures, change.forgotten)
        change.ids.take()
        epoch.add(change.epoch)

    def _move(self, end: int, epoch: Epoch) -> None:
        """All records before `end` have been added."""
        epoch.events += self._lines.released(self._now_ms)
        epoch.position = end
        epoch.progress = self._lines.progress(self._now_ms, self._gaps.oldest_ms)


def _refusal(error: ProcessingError) -> Bad:
    feed = f" (feed {error.feed})" if error.feed else ""
    return Bad(0, PROCESSING_ERROR, None, f"{error.error}{feed}")
