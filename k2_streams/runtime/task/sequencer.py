"""Raw records in, an epoch out: decode > validate > sequence > ids > rows.

No I/O here but reads of the state: what is read comes as arguments, what is to be sent grows in the
epoch. All that can fail is done before the epoch or the state is changed, so records that cannot be
processed leave nothing behind.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.dedup.bloom import Bools
from k2_streams.core.enrich.instruments import PriceDomains, positive_prices
from k2_streams.core.enrich.notional import Notional, of_ones
from k2_streams.core.enrich.ticks import Ticks
from k2_streams.core.lines.batch import Copies
from k2_streams.core.lines.stats import LineKey, LineStats
from k2_streams.core.records.schema import MICROS
from k2_streams.core.records.source import RawInput
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.batch import Batch as Messages
from k2_streams.core.sequence.batch import BatchStep, Ruled, step_batch
from k2_streams.core.sequence.horizon import LATE_HORIZON_MS
from k2_streams.core.sequence.scopes import exchange_of
from k2_streams.core.sequence.sessions import CONFLICT_TOLERANCE_MS, Counting
from k2_streams.core.sequence.step import (
    ACCEPTED,
    SEQUENCE_LIMITS,
    ScopeState,
    SequenceLimits,
    Verdict,
)
from k2_streams.failpoints import failpoint_of_records
from k2_streams.feeds.feed import Bad, Decoded, Feeds, Kind
from k2_streams.runtime.task.decoding import OTHER_FEEDS, Batch, Decoding, Record
from k2_streams.runtime.task.epoch import BEGINNING, Epoch, Standing, dead_letter
from k2_streams.runtime.task.gap_keeper import GAPS, GapKeeper, GapsState
from k2_streams.runtime.task.line_keeper import LINES, LineKeeper, LinesState, Named
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.processing_error import ProcessingError
from k2_streams.runtime.task.row_ids import (
    NewIds,
    Sequenced,
    are_by_id,
    have_ids,
    message_counts,
    repeated,
)
from k2_streams.state.ids import IdTable
from k2_streams.state.position import Position, Section
from k2_streams.state.table import RowTable
from k2_streams.topology.errors import StateReadError

#: The reason of a dead letter that K2's own code, or a feed's, failed on.
PROCESSING_ERROR = "processing-error"
#: Append times outside are taken for the nearest inside: nothing made of one leaves 64 bits. Kafka
#: allows any, -1 for none among them, on a topic whose times are the producers'.
MIN_APPEND_MS, MAX_APPEND_MS = 0, 9_000_000_000_000  # the year 2255

#: Time that passes without a record is noted this often while a gap is open.
NOTE_MS = 3_600_000

_ACCEPTED = np.zeros(max(Verdict) + 1, dtype=bool)
_ACCEPTED[[int(verdict) for verdict in ACCEPTED]] = True

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SequencerOptions:
    """What a deployment sets of how records are sequenced."""

    check_partition: bool = True  # a record whose key belongs elsewhere is a dead letter
    horizon_ms: int = LATE_HORIZON_MS  # how long a gap waits for late records
    price_domains: PriceDomains = positive_prices  # which prices an instrument may have
    tolerance_ms: int = CONFLICT_TOLERANCE_MS  # how much later than its session a repeat may be
    limits: SequenceLimits = SEQUENCE_LIMITS  # what a scope keeps at most


DEFAULT_OPTIONS = SequencerOptions()


#: Where what is encoded on trial would stand.
_ON_TRIAL = Position(source_id="", partitions=1, next_offset=0)


def standing_of(position: Position) -> Standing:
    """Where a partition stood at a position."""
    lines = LINES.read(position.sections) or LinesState()
    gaps = GAPS.read(position.sections) or GapsState()
    return Standing(position.append_time_ms, lines.stats, lines.held, gaps.oldest_ms)


class _Change(NamedTuple):
    """What records bring about, before anything of it is taken."""

    epoch: Epoch
    stepped: BatchStep | None
    figures: list[LineStats]
    forgotten: frozenset[LineKey]  # lines whose room another one has taken
    ids: NewIds
    now_ms: int


class Sequencer:
    """The decisions of one source partition's task."""

    def __init__(
        self,
        source: RawInput,
        feeds: Feeds,
        partition: int,
        partitions: int,
        table: RowTable[ScopeState],
        ids: IdTable,
        *,
        options: SequencerOptions = DEFAULT_OPTIONS,
        standing: Standing = BEGINNING,
        enriches: Callable[[], bool] = lambda: True,
        notional: Notional = of_ones,
    ) -> None:
        self._source = source
        self._outputs = TaskOutputs.of_raw(source)
        self._partition = partition
        self._table = table
        self._ids = ids
        self._now_ms = standing.append_time_ms  # stream time
        self._lines = LineKeeper(table, partition, standing)
        self._horizon_ms = options.horizon_ms
        self._limits = options.limits
        self._gaps = GapKeeper(table, partition, options.horizon_ms, standing.oldest_gap_ms)
        self._tolerance_ms = options.tolerance_ms
        self._enriches = enriches
        self._notional = notional
        self._ticks = Ticks()
        self._decoding = Decoding(
            feeds,
            source.row_schema,
            source.raw,
            partition,
            partitions,
            check_partition=options.check_partition,
            price_domains=options.price_domains,
        )

    @property
    def stream_time_ms(self) -> int:
        """The largest append time processed, or that has passed since."""
        return self._now_ms

    def sections(self) -> dict[str, Section]:
        """What the position says of lines and gaps."""
        standing = self._lines.standing(self._now_ms, self._gaps.oldest_ms)
        return {
            LINES.name: LINES.write(LinesState(standing.lines, standing.held)),
            GAPS.name: GAPS.write(GapsState(standing.oldest_gap_ms)),
        }

    def process(
        self, records: Sequence[Record], end: int, epoch: Epoch, *, probe: bool = False
    ) -> None:
        """Add records to the epoch, in the order of each scope; `end` is the next position.

        Args:
            records: the next ones.
            end: the position behind them.
            epoch: what they are added to.
            probe: whether what they bring about is encoded on trial, as its checkpoint will do.

        Raises:
            ProcessingError: what is in the records could not be processed, by a bug of K2 or of a
                feed. Neither the epoch nor the state has anything of them.
            StateReadError: the state's store could not be read; the task is over.
        """
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
        epoch.standing = self._lines.standing(self._now_ms, self._gaps.oldest_ms)

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
    ) -> _Change:
        """What records bring about; of `refused`, a single one, no more than its number."""
        feed: str | None = None
        try:
            times_ms, now_ms = self._times(records)
            batch = self._decoding.decode(records, times_ms, now_ms)
            if len(batch.counts) == 1:
                (feed,) = batch.counts
            if refused is not None:
                batch = _only_its_number(batch, refused)
            change = self._sequenced(records, batch)
            if probe:
                self._encode(change)
        except (ProcessingError, StateReadError, MemoryError):
            self._ticks.forget()
            raise
        except Exception as error:
            self._ticks.forget()  # it may have seen rows that never come
            offsets = [record.offset for record in records]
            place = (self._source.raw, self._partition)
            raise ProcessingError.of(error, *place, offsets, feed) from error
        return change

    def _encode(self, change: _Change) -> None:
        """Encode what a checkpoint will send."""
        change.epoch.outputs(self._partition, _ON_TRIAL)
        if change.stepped is not None:
            for state in change.stepped.states.values():
                sequence_codec.encode(state)

    def _unread(self, record: Record, error: ProcessingError) -> _Change:
        """A record of which nothing can be processed."""
        _, now_ms = self._times([record])
        epoch = Epoch(self._outputs, 0, records=1)
        epoch.feeds[error.feed or OTHER_FEEDS] += 1
        self._add_dead_letters([record], [_processing_error(error)], now_ms, epoch)
        return _Change(epoch, None, [], frozenset(), NewIds(self._ids), int(now_ms[-1]))

    def _times(self, records: Sequence[Record]) -> tuple[Indices, Indices]:
        """The append time of each record, and stream time at it."""
        times_ms = np.fromiter((r.timestamp for r in records), np.int64, len(records))
        times_ms = np.clip(times_ms, MIN_APPEND_MS, MAX_APPEND_MS)
        return times_ms, np.maximum.accumulate(np.maximum(times_ms, self._now_ms))

    def _sequenced(self, records: Sequence[Record], batch: Batch) -> _Change:
        decoded, bad = batch.decoded, batch.bad
        kind, known = decoded.kind, decoded.scope >= 0
        named = self._lines.named(records, _exchanges(batch), batch.now_ms)
        if named.bad:
            kind = _without_lines(named.bad, kind, bad)
        members = np.flatnonzero(known & ((kind == Kind.TRADE) | (decoded.sequence >= 0)))
        verdicts = np.full(len(records), -1, np.int8)
        sessions = np.zeros(len(records), np.int32)
        epoch = Epoch(self._outputs, 0, records=len(records), feeds=batch.counts)
        epoch.controls = _controls(batch, kind)
        epoch.unknown = batch.unknown
        epoch.excess_lines = named.excess
        stepped, names = None, [""]
        if len(members):
            stepped = self._step(batch, members, named)
            verdicts[members] = stepped.verdicts
            sessions[members] = stepped.session
            names = stepped.session_names
            epoch.events += stepped.events
            epoch.duplicates.update(stepped.duplicates)
            counts = np.bincount(stepped.verdicts, minlength=len(Verdict)).tolist()
            epoch.verdicts.update({one.name.lower(): counts[one] for one in Verdict})
            bad += _refused(verdicts, kind)
        found = Sequenced(
            kind, verdicts, sessions, names, batch.now_ms, batch.feed, batch.descriptions
        )
        ids = NewIds(self._ids)
        by_id = have_ids(decoded, found)
        kept = self._kept(decoded, found, by_id, ids, epoch)
        figures: list[LineStats] = []
        if named.lined is not None and len(members):
            new = message_counts(decoded, by_id), message_counts(decoded, by_id & kept)
            copies = Copies.of(verdicts, are_by_id(found) & (kind == Kind.TRADE), *new)
            figures = self._lines.figures(decoded, members, named.lined, copies)
        self._add_rows(batch, found, kept, epoch)
        self._add_dead_letters(records, bad, batch.append_time_ms, epoch)
        now_ms = int(batch.now_ms[-1])
        return _Change(epoch, stepped, figures, named.forgotten, ids, now_ms)

    def _step(self, batch: Batch, members: Indices, named: Named) -> BatchStep:
        decoded, lined = batch.decoded, named.lined
        rules = [
            Counting(description.session_rule, description.tolerance_ms(self._tolerance_ms))
            for description in batch.descriptions
        ]
        messages = Messages(
            scopes=decoded.scopes,
            scope=decoded.scope[members],
            sequence=decoded.sequence[members],
            session=decoded.session[members],
            sessions=decoded.sessions,
            event_time_ns=decoded.event_time_ns[members],
            offset=batch.offsets[members],
            append_ms=batch.append_time_ms[members],
            partition=self._partition,
            lined=None if lined is None else lined.of(members),
            ruled=_ruled(rules, batch.feed[members]),
        )
        rule, tolerance_ms = rules[0]
        return step_batch(self._state, messages, rule, self._horizon_ms, tolerance_ms, self._limits)

    def _state(self, scope: str) -> ScopeState | None:
        try:
            return self._table.get(scope)
        except Exception as error:
            raise StateReadError(f"scope {scope}: {error}") from error

    def _kept(
        self, decoded: Decoded, found: Sequenced, by_id: Bools, ids: NewIds, epoch: Epoch
    ) -> Bools:
        """Of each row, whether it is accepted and no repeat."""
        verdicts = found.verdicts
        accepted = (found.kind == Kind.TRADE) & (verdicts >= 0) & _ACCEPTED[verdicts]
        kept: Bools = accepted[decoded.rows.column("message").to_numpy()]
        window, asked = self._ids.window, kept & by_id
        return kept & ~repeated(ids, window, decoded, found, asked, epoch.duplicates)

    def _add_rows(self, batch: Batch, found: Sequenced, kept: Bools, epoch: Epoch) -> None:
        """The rows of accepted trades that are no repeats."""
        decoded, rows, verdicts = batch.decoded, batch.decoded.rows, found.verdicts
        message = rows.column("message").to_numpy()
        if not kept.all():
            rows = rows.filter(pa.array(kept))
            message = message[kept]
        if not rows.num_rows:
            return
        failpoint_of_records("source.rows", self._partition, batch.offsets[message])
        sequence = decoded.sequence[message]
        derived = {
            "session": pa.DictionaryArray.from_arrays(
                pa.array(found.sessions[message]), pa.array(found.names, pa.string())
            ),
            "sequence": pa.array(sequence, mask=sequence < 0),
            "late": pa.array(verdicts[message] == Verdict.LATE),
            "ingest_time": pc.multiply(pa.array(batch.append_time_ms[message]), 1000).cast(MICROS),
            "source_offset": pa.array(batch.offsets[message]),
        }
        columns = dict(zip(rows.schema.names, rows.columns, strict=True)) | derived
        columns |= self._enriched(rows, derived["late"])
        stream = self._source.stream
        epoch.rows[stream.log].append(
            pa.RecordBatch.from_arrays(
                [
                    # What neither the venue said nor the sequencer found (enrichment) is null.
                    columns[field.name]
                    if field.name in columns
                    else pa.nulls(rows.num_rows, field.type)
                    for field in stream.log_schema
                ],
                schema=stream.log_schema,
            )
        )

    def _enriched(self, rows: pa.RecordBatch, late: pa.Array) -> dict[str, pa.Array]:
        """What a worker under load leaves out: a query computes it then, by the same function."""
        if not self._source.stream.is_enriched:
            return {}
        if not self._enriches():
            self._ticks.forget()
            return {}
        return {"notional": self._notional(rows), "tick_direction": self._ticks.of(rows, late)}

    def _add_dead_letters(
        self, records: Sequence[Record], bad: Sequence[Bad], times_ms: Indices, epoch: Epoch
    ) -> None:
        for entry in sorted(bad, key=lambda found: found.message):
            record = records[entry.message]
            epoch.reasons[entry.reason] += 1
            epoch.dead_letters.append(
                dead_letter(
                    of=self._outputs,
                    partition=self._partition,
                    offset=record.offset,
                    key=record.key,
                    value=record.value,
                    headers=tuple(record.headers),
                    timestamp_ms=int(times_ms[entry.message]),
                    reason=entry.reason,
                    field_name=entry.field,
                    detail=entry.detail,
                )
            )

    # -- taking it -------------------------------------------------------------------------------

    def _take(self, change: _Change, epoch: Epoch) -> None:
        """Into the epoch and the state. Nothing here depends on what records hold."""
        self._now_ms = change.now_ms
        stepped = change.stepped
        if stepped is not None:
            for scope, state in stepped.states.items():
                self._table.put(scope, state)
            self._lines.took(stepped.states)
            self._gaps.took(stepped.states)
            self._lines.count(change.figures, change.forgotten)
        change.ids.take()
        epoch.add(change.epoch)

    def _move(self, end: int, epoch: Epoch) -> None:
        """All records before `end` have been added."""
        epoch.events += self._lines.released(self._now_ms)
        epoch.position = end
        epoch.standing = self._lines.standing(self._now_ms, self._gaps.oldest_ms)


def _controls(batch: Batch, kind: npt.NDArray[np.int8]) -> Counter[tuple[str, str]]:
    """Control messages by feed and a bounded set of names."""
    events, feeds = batch.decoded.events, batch.feed.tolist()
    return Counter(
        (batch.names[feeds[at]], batch.descriptions[feeds[at]].event(events.get(at, "")))
        for at in np.flatnonzero(kind == Kind.CONTROL).tolist()
    )


def _exchanges(batch: Batch) -> list[str]:
    """The exchange of each record; "" of one whose sequence is not looked at."""
    decoded = batch.decoded
    of = [exchange_of(scope) for scope in decoded.scopes]
    looked_at = (decoded.scope >= 0) & ((decoded.kind == Kind.TRADE) | (decoded.sequence >= 0))
    scopes = np.where(looked_at, decoded.scope, -1).tolist()
    return [of[scope] if scope >= 0 else "" for scope in scopes]


#: Verdicts that make a trade a dead letter: its reason, and what is wrong with the number.
_REFUSED = (
    (Verdict.STALE, "stale", "in or below an abandoned range"),
    (
        Verdict.CONFLICTING,
        "conflicting-duplicate",
        "received before, and this message is later than all of its session",
    ),
)


def _refused(verdicts: npt.NDArray[np.int8], kind: npt.NDArray[np.int8]) -> list[Bad]:
    return [
        Bad(at, reason, "sequence", detail)
        for verdict, reason, detail in _REFUSED
        for at in np.flatnonzero((verdicts == verdict) & (kind == Kind.TRADE)).tolist()
    ]


def _ruled(rules: list[Counting], feed: npt.NDArray[np.int16]) -> Ruled | None:
    """How messages count whose feeds differ in it."""
    if all(rule == rules[0] for rule in rules):
        return None
    distinct = list(dict.fromkeys(rules))
    of = np.array([distinct.index(rule) for rule in rules], np.int8)
    return Ruled(distinct, of[feed])


def _without_lines(
    refused: tuple[int, ...], kind: npt.NDArray[np.int8], bad: list[Bad]
) -> npt.NDArray[np.int8]:
    """Mark records that name no line: their numbers count, as of a record without one."""
    already = {entry.message for entry in bad}
    detail = "expected 1 to 32 of A-Z a-z 0-9 . _ -"
    bad += [Bad(at, "bad-line", "line", detail) for at in refused if at not in already]
    changed = kind.copy()
    changed[list(refused)] = Kind.BAD
    return changed


def _only_its_number(batch: Batch, error: ProcessingError) -> Batch:
    """A record that is refused: its scope and number count, as far as both could be read."""
    decoded = batch.decoded
    readable = decoded.sequence >= 0
    return replace(
        batch,
        decoded=replace(
            decoded,
            kind=np.full(1, Kind.BAD, np.int8),
            scope=np.where(readable, decoded.scope, np.int32(-1)),
            rows=decoded.rows.slice(0, 0),
        ),
        bad=[_processing_error(error)],
    )


def _processing_error(error: ProcessingError) -> Bad:
    feed = f" (feed {error.feed})" if error.feed else ""
    return Bad(0, PROCESSING_ERROR, None, f"{error.error}{feed}")
