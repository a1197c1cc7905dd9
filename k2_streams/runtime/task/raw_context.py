"""What the agent of a raw source is given: the steps from records to accepted rows.

    records --decode--> messages --sequence--> sequenced --deduplicate--> rows --enrich--> rows
                 |                    |                       |                              |
                 '-- dead letters     '-- events              '-- events                     emit

Each step decides; nothing is written. What a call has brought about is taken as a whole when the
agent has returned, or not at all.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams import traces
from k2_streams.core.enrich.notional import Notional
from k2_streams.core.enrich.ticks import Ticks
from k2_streams.core.lines.batch import Copies
from k2_streams.core.lines.stats import LineKey, LineStats
from k2_streams.core.records.schema import MICROS
from k2_streams.core.records.source import RawInput
from k2_streams.core.sequence.batch import BatchStep, step_batch
from k2_streams.core.sequence.columns import ScopeColumns
from k2_streams.core.sequence.messages import Batch as Messages
from k2_streams.core.sequence.messages import Ruled
from k2_streams.core.sequence.scopes import exchange_of
from k2_streams.core.sequence.sessions import Counting
from k2_streams.core.sequence.step import ACCEPTED, Nature, ScopeState, SequenceLimits, Verdict
from k2_streams.failpoints import failpoint_of_records
from k2_streams.feeds.feed import Bad, Kind
from k2_streams.runtime.fetched import Record
from k2_streams.runtime.task.decoding import DecodedBatch, Decoding
from k2_streams.runtime.task.epoch import Epoch, Numbered, dead_letter
from k2_streams.runtime.task.headers import redriven, traceparents
from k2_streams.runtime.task.line_keeper import LineKeeper, Named
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.row_ids import (
    NewIds,
    Sequenced,
    are_by_id,
    have_ids,
    message_counts,
    repeated,
)
from k2_streams.state.ids import IdTable
from k2_streams.topology.declarations import DEDUP, SEQUENCE, Agent, Output
from k2_streams.topology.emitted import check_rows

_ACCEPTED = np.zeros(max(Verdict) + 1, dtype=bool)
_ACCEPTED[[int(verdict) for verdict in ACCEPTED]] = True

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RawRecords:
    """Records of a raw topic, in the order of the source. Arrays have one entry each."""

    records: Sequence[Record]
    append_time_ms: Indices
    stream_time_ms: Indices  # the largest append time up to and with each

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True, slots=True)
class DecodedRecords:
    """What `RawContext.decode` gives: per record what its feed found in it."""

    batch: DecodedBatch


@dataclass(frozen=True, slots=True)
class SequencedRecords:
    """What `RawContext.sequence` gives: per record a verdict too."""

    batch: DecodedBatch
    found: Sequenced
    members: Indices  # records with a scope that is sequenced
    named: Named


@dataclass(frozen=True, slots=True)
class RawSteps:
    """What the steps of one partition work with."""

    source: RawInput
    outputs: TaskOutputs
    partition: int
    decoding: Decoding
    lines: LineKeeper
    state: Callable[[str], ScopeState | None]
    columns: ScopeColumns
    ids: IdTable
    ticks: Ticks
    horizon_ms: int
    tolerance_ms: int
    limits: SequenceLimits
    enriches: Callable[[], bool]
    notional: Notional


class Change(NamedTuple):
    """What records bring about, before anything of it is taken."""

    epoch: Epoch
    stepped: BatchStep | None
    figures: list[LineStats]
    forgotten: frozenset[LineKey]  # lines whose room another one has taken
    ids: NewIds
    stream_time_ms: int


class RawContext:
    """One call of a raw source's agent.

    Attributes:
        partition: of the source.
    """

    def __init__(
        self, agent: Agent, steps: RawSteps, records: RawRecords, refusal: Bad | None
    ) -> None:
        self.partition = steps.partition
        self._agent = agent
        self._steps = steps
        self._records = records
        self._refusal = refusal  # of a single record, whose number alone counts
        self._epoch = Epoch(steps.outputs, 0, records=len(records))
        if traces.is_on():
            self._epoch.links = traceparents(records.records, traces.MAX_LINKS)
        self._bad: list[Bad] = []
        self._of_agent: dict[int, Bad] = {}  # what the agent itself refused, by record
        self._stepped: BatchStep | None = None
        self._sequenced: SequencedRecords | None = None
        self._figures: list[LineStats] = []
        self._forgotten: frozenset[LineKey] = frozenset()
        self._ids = NewIds(steps.ids)

    # -- the steps -------------------------------------------------------------------------------

    def decode(self, records: RawRecords) -> DecodedRecords:
        """Decode each record by its feed. One that cannot be decoded is a dead letter.

        Args:
            records: of this call, all of them.

        Raises:
            ProcessingError: a feed's decoder failed.
            ValueError: they are others.
        """
        if records is not self._records:
            raise ValueError("decode: expected the records that the agent was called with")
        decoding = self._steps.decoding
        batch = decoding.decode(records.records, records.append_time_ms, records.stream_time_ms)
        if self._refusal is not None:
            batch = _only_its_number(batch, self._refusal)
        self._bad = batch.bad
        self._epoch.feeds.update(batch.counts)
        self._epoch.unknown = batch.unknown
        return DecodedRecords(batch)

    def sequence(self, messages: DecodedRecords) -> SequencedRecords:
        """Give each message its verdict; what follows of gaps and duplicates are events."""
        self._agent.require_table(SEQUENCE)
        batch, records, epoch = messages.batch, self._records.records, self._epoch
        decoded = batch.decoded
        kind, known = _without(self._of_agent, decoded.kind), decoded.scope >= 0
        exchanges = partial(_exchanges, batch)
        named = self._steps.lines.named(records, exchanges, batch.now_ms)
        if named.bad:
            kind = _without_lines(named.bad, kind, self._bad)
        members = np.flatnonzero(known & ((kind == Kind.TRADE) | (decoded.sequence >= 0)))
        verdicts = np.full(len(records), -1, np.int8)
        sessions = np.zeros(len(records), np.int32)
        epoch.controls = _controls(batch, kind)
        epoch.excess_lines = named.excess
        self._forgotten = named.forgotten
        names = [""]
        if len(members):
            stepped = self._stepped = self._step(batch, kind, members, named)
            verdicts[members] = stepped.verdicts
            sessions[members] = stepped.session
            names = stepped.session_names
            epoch.events += stepped.events
            epoch.duplicates.update(stepped.duplicates)
            counts = np.bincount(stepped.verdicts, minlength=len(Verdict)).tolist()
            epoch.verdicts.update({one.name.lower(): counts[one] for one in Verdict})
            self._bad += _refused(verdicts, kind)
        found = Sequenced(
            kind, verdicts, sessions, names, batch.now_ms, batch.feed, batch.descriptions
        )
        self._sequenced = SequencedRecords(batch, found, members, named)
        return self._sequenced

    def deduplicate(self, sequenced: SequencedRecords) -> pa.RecordBatch:
        """The rows that are accepted and no repeats, in the columns of the log.

        By sequence number where a message has one, else by trade id, as its feed declares.
        """
        self._agent.require_table(DEDUP)
        batch, found = sequenced.batch, sequenced.found
        decoded, verdicts = batch.decoded, found.verdicts
        by_id = have_ids(decoded, found)
        accepted = (found.kind == Kind.TRADE) & (verdicts >= 0) & _ACCEPTED[verdicts]
        kept = accepted[decoded.rows.column("message").to_numpy()]
        window, asked = self._steps.ids.window, kept & by_id
        kept = kept & ~repeated(self._ids, window, decoded, found, asked, self._epoch.duplicates)
        lined = sequenced.named.lined
        if lined is not None and len(sequenced.members):
            new = message_counts(decoded, by_id), message_counts(decoded, by_id & kept)
            copies = Copies.of(verdicts, are_by_id(found) & (found.kind == Kind.TRADE), *new)
            self._figures = self._steps.lines.figures(decoded, sequenced.members, lined, copies)
        rows = decoded.rows if kept.all() else decoded.rows.filter(pa.array(kept))
        return self._in_log_columns(rows, batch, found)

    def enrich(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Add what follows from a row and the ones before it: notional and tick direction.

        A worker under load leaves it out: a query computes it then, by the same functions.
        """
        steps = self._steps
        if not steps.source.stream.is_enriched or not rows.num_rows:
            return rows
        if not steps.enriches():
            steps.ticks.forget()
            return rows
        for name, values in (
            ("notional", steps.notional(rows)),
            ("tick_direction", steps.ticks.of(rows, rows.column("late"))),
        ):
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, rows.schema.field(at), values)
        return rows

    def emit(self, output: Output, rows: pa.RecordBatch) -> None:
        """Add rows to the source's log.

        Raises:
            TypeError, ValueError: the output is another one's, or the log cannot take the rows.
        """
        self._agent.require_output(output)
        check_rows(output.stream, rows)
        if rows.num_rows:
            self._epoch.rows[output.stream.log].append(rows)

    def dead_letter(self, record: int, reason: str, detail: str = "") -> None:
        """Send a record to the dead letters, once: the first reason counts.

        It makes no row. Its number counts as dead, as that of any dead letter: so it is missing in
        no range, is in the ledger, and is accepted when it is redriven.

        Args:
            record: its number in the call's records.
            reason: a short name, the same for all records of one kind.
            detail: what is wrong with this one.

        Raises:
            ValueError: the call has no such record, or `sequence` has given it a verdict already.
        """
        if not 0 <= record < len(self._records):
            raise ValueError(
                f"dead letter: expected one of the call's {len(self._records)} records: {record}"
            )
        if self._sequenced is not None:
            raise ValueError(
                "dead letter: the number of each record has its verdict: call it before sequence"
            )
        self._of_agent.setdefault(record, Bad(record, reason, None, detail))

    # -- what runs the agent -------------------------------------------------------------

    @property
    def feed(self) -> str | None:
        """Whose records they are; None: of several feeds, or they are not decoded."""
        feeds = list(self._epoch.feeds)
        return feeds[0] if len(feeds) == 1 else None

    def refuse(self, refusal: Bad, feed: str) -> None:
        """The only record is a dead letter, and nothing else of it counts."""
        self._epoch.feeds[feed] += 1
        self._bad = [refusal]

    def change(self) -> Change:
        """All that the call has brought about."""
        records, steps = self._records, self._steps
        of_agent = {} if self._refusal else self._of_agent
        bad = [entry for entry in self._bad if entry.message not in of_agent]
        for entry in sorted([*bad, *of_agent.values()], key=lambda found: found.message):
            record = records.records[entry.message]
            self._epoch.reasons[entry.reason] += 1
            letter = dead_letter(
                of=steps.outputs,
                partition=steps.partition,
                offset=record.offset,
                key=record.key,
                value=record.value,
                headers=tuple(record.headers),
                timestamp_ms=int(records.append_time_ms[entry.message]),
                reason=entry.reason,
                field_name=entry.field,
                detail=entry.detail,
            )
            numbered = self._numbered(entry.message)
            self._epoch.dead_letters.append(numbered.told_by(letter) if numbered else letter)
        return Change(
            self._epoch,
            self._stepped,
            self._figures,
            self._forgotten,
            self._ids,
            int(records.stream_time_ms[-1]),
        )

    # -- parts -----------------------------------------------------------------------------------

    def _numbered(self, record: int) -> Numbered | None:
        """The number of one of the call's records; None: it could not be read, or it has none."""
        if self._sequenced is None:
            return None
        decoded, found = self._sequenced.batch.decoded, self._sequenced.found
        scope, sequence = int(decoded.scope[record]), int(decoded.sequence[record])
        if scope < 0 or sequence < 0 or found.verdicts[record] < 0:
            return None
        return Numbered(decoded.scopes[scope], found.names[found.sessions[record]], sequence)

    def _step(
        self, batch: DecodedBatch, kind: npt.NDArray[np.int8], members: Indices, named: Named
    ) -> BatchStep:
        steps, decoded, lined = self._steps, batch.decoded, named.lined
        rules = [
            Counting(description.session_rule, description.tolerance_ms(steps.tolerance_ms))
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
            partition=steps.partition,
            lined=None if lined is None else lined.of(members),
            ruled=_ruled(rules, batch.feed[members]),
            nature=_natures(kind, self._records.records, members),
        )
        rule, tolerance_ms = rules[0]
        return step_batch(
            steps.state, messages, rule, steps.horizon_ms, tolerance_ms, steps.limits, steps.columns
        )

    def _in_log_columns(
        self, rows: pa.RecordBatch, batch: DecodedBatch, found: Sequenced
    ) -> pa.RecordBatch:
        """Decoded rows with what the sequencer found of their messages."""
        schema = self._steps.source.stream.log_schema
        if not rows.num_rows:
            return pa.RecordBatch.from_pylist([], schema=schema)
        message = rows.column("message").to_numpy()
        failpoint_of_records("source.rows", self.partition, batch.offsets[message])
        sequence, verdicts = batch.decoded.sequence[message], found.verdicts
        columns = dict(zip(rows.schema.names, rows.columns, strict=True)) | {
            "session": pa.DictionaryArray.from_arrays(
                pa.array(found.sessions[message]), pa.array(found.names, pa.string())
            ),
            "sequence": pa.array(sequence, mask=sequence < 0),
            "late": pa.array(verdicts[message] == Verdict.LATE),
            "ingest_time": pc.multiply(pa.array(batch.append_time_ms[message]), 1000).cast(MICROS),
            "source_offset": pa.array(batch.offsets[message]),
        }
        return pa.RecordBatch.from_arrays(
            [
                # What neither the venue sent nor the sequencer found is null.
                columns[field.name]
                if field.name in columns
                else pa.nulls(rows.num_rows, field.type)
                for field in schema
            ],
            schema=schema,
        )


def _controls(batch: DecodedBatch, kind: npt.NDArray[np.int8]) -> Counter[tuple[str, str]]:
    """Control messages by feed and a bounded set of names."""
    events, feeds = batch.decoded.events, batch.feed.tolist()
    return Counter(
        (batch.names[feeds[at]], batch.descriptions[feeds[at]].event(events.get(at, "")))
        for at in np.flatnonzero(kind == Kind.CONTROL).tolist()
    )


def _exchanges(batch: DecodedBatch) -> list[str]:
    """The exchange of each record; "" of one whose sequence is not looked at."""
    decoded = batch.decoded
    of = [exchange_of(scope) for scope in decoded.scopes]
    looked_at = (decoded.scope >= 0) & ((decoded.kind == Kind.TRADE) | (decoded.sequence >= 0))
    scopes = np.where(looked_at, decoded.scope, -1).tolist()
    return [of[scope] if scope >= 0 else "" for scope in scopes]


#: Verdicts by which a trade becomes dead: the reason, and what is wrong with the number.
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


def _natures(
    kind: npt.NDArray[np.int8], records: Sequence[Record], members: Indices
) -> npt.NDArray[np.int8] | None:
    """What these messages are beside their numbers; None: all are usual."""
    nature = np.zeros(len(records), np.int8)
    nature[redriven(records)] = Nature.REDRIVEN
    nature[kind == Kind.BAD] = Nature.DEAD
    found = nature[members]
    return found if found.any() else None


def _without_lines(
    refused: tuple[int, ...], kind: npt.NDArray[np.int8], bad: list[Bad]
) -> npt.NDArray[np.int8]:
    """Mark records that name no line: their numbers count, as of a record without one."""
    already = {entry.message for entry in bad}
    detail = "expected 1 to 32 of A-Z a-z 0-9 . _ -"
    bad += [Bad(at, "bad-line", "line", detail) for at in refused if at not in already]
    return _without(refused, kind)


def _without(refused: Collection[int], kind: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """The kinds, with these records as dead letters."""
    if not refused:
        return kind
    changed = kind.copy()
    changed[list(refused)] = Kind.BAD
    return changed


def _only_its_number(batch: DecodedBatch, refusal: Bad) -> DecodedBatch:
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
        bad=[refusal],
    )
