"""Raw records in, an epoch out: decode > validate > sequence > ids > rows.

No I/O here: what is read comes as arguments, what is to be sent grows in the epoch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.enrichment import Notional, of_ones
from k2_streams.core.horizon import LATE_HORIZON_MS
from k2_streams.core.instruments import PriceDomains, positive_prices
from k2_streams.core.lines_batch import Copies, Lined
from k2_streams.core.partitioner import partition_of
from k2_streams.core.schema import MICROS
from k2_streams.core.sequence import ACCEPTED, ScopeState, Verdict
from k2_streams.core.sequence_batch import Batch, BatchStep, step_batch
from k2_streams.core.stream import Stream
from k2_streams.core.ticks import Ticks
from k2_streams.failpoints import failpoint
from k2_streams.feeds.feed import (
    CANONICAL,
    Bad,
    Decoded,
    Feed,
    Feeds,
    Kind,
    RawBatch,
    UnknownFeedError,
    feed,
)
from k2_streams.runtime.epoch import BEGINNING, Epoch, Standing, dead_letter
from k2_streams.runtime.line_keeper import LineKeeper
from k2_streams.runtime.row_ids import (
    Bools,
    Judged,
    RowIds,
    message_counts,
    rows_told_by_id,
    told_by_id,
)
from k2_streams.state.ids import IdTable
from k2_streams.state.table import Table

#: Scope keys whose partition is remembered: 1 MiB.
PARTITION_CACHE_MAX = 20_000

_ACCEPTED = np.zeros(max(Verdict) + 1, dtype=bool)
_ACCEPTED[[int(verdict) for verdict in ACCEPTED]] = True

Record = Any  # aiokafka.ConsumerRecord
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judging:
    """What a deployment says of how records are judged."""

    check_partition: bool = True  # a record whose key belongs elsewhere is a dead letter
    horizon_ms: int = LATE_HORIZON_MS  # how long a gap waits for late records
    price_domains: PriceDomains = positive_prices  # which prices an instrument may have


JUDGING = Judging()


def feed_of(record: Record) -> str:
    """The name in the header `feed`; the canonical JSON object without one."""
    for name, value in record.headers:
        if name == "feed":
            return str(value.decode(errors="replace"))
    return CANONICAL


class Sequencer:
    """The decisions of one source partition's task."""

    def __init__(
        self,
        stream: Stream,
        feeds: Feeds,
        partition: int,
        partitions: int,
        table: Table[ScopeState],
        ids: IdTable,
        *,
        judging: Judging = JUDGING,
        standing: Standing = BEGINNING,
        enriches: Callable[[], bool] = lambda: True,
        notional: Notional = of_ones,
    ) -> None:
        self._stream = stream
        self._feeds = feeds
        self._partition = partition
        self._partitions = partitions
        self._table = table
        self._row_ids = RowIds(ids)
        self._now_ms = standing.append_time_ms  # the partition's time
        self._lines = LineKeeper(table, partition, standing)
        self._judging = judging
        self._enriches = enriches
        self._notional = notional
        self._ticks = Ticks()
        self._at_home: dict[str, bool] = {}

    def process(self, records: Sequence[Record], end: int, epoch: Epoch) -> None:
        """Add records to the epoch, in the order of each scope; `end` is the next position."""
        for name, members in self._by_feed(records):
            epoch.feeds[name] += len(members)
            times_ms = np.fromiter((r.timestamp for r in members), np.int64, len(members))
            now_ms = np.maximum.accumulate(np.maximum(times_ms, self._now_ms))
            self._now_ms = int(now_ms[-1])
            try:
                decoder = feed(name, self._feeds)
            except UnknownFeedError as error:
                everything = [
                    Bad(i, "unknown-feed", "feed", str(error)) for i in range(len(members))
                ]
                self._bury(members, everything, epoch)
                continue
            self._process(decoder, members, times_ms, now_ms, epoch)
        epoch.events += self._lines.released(self._now_ms)
        epoch.records += len(records)
        epoch.position = end
        epoch.standing = self._lines.standing(self._now_ms)

    def _by_feed(self, records: Sequence[Record]) -> list[tuple[str, Sequence[Record]]]:
        """Runs of records of one feed; one run where, as nearly always, all are of one."""
        names = [feed_of(record) if record.headers else CANONICAL for record in records]
        if len(set(names)) <= 1:
            return [(names[0], records)] if names else []
        changes = [i for i in range(1, len(names)) if names[i] != names[i - 1]]
        cuts = [0, *changes, len(names)]
        return [(names[start], records[start:end]) for start, end in pairwise(cuts)]

    def _process(
        self,
        decoder: Feed,
        records: Sequence[Record],
        times_ms: Indices,
        now_ms: Indices,
        epoch: Epoch,
    ) -> None:
        raw = RawBatch(
            partition=self._partition,
            offsets=np.fromiter((r.offset for r in records), np.int64, len(records)),
            append_time_ms=times_ms,
            keys=[r.key for r in records],
            values=[r.value for r in records],
            price_domains=self._judging.price_domains,
        )
        decoded = decoder.decode(raw)
        failpoint("source.decoded")
        bad = list(decoded.bad)
        kind = decoded.kind
        if self._judging.check_partition:
            kind = self._send_home(decoded, bad)
        named = self._lines.named(records, now_ms)
        if named.bad:
            kind = self._refuse_lines(named.bad, kind, bad)
        self._count(decoder, decoded, kind, epoch)
        known = decoded.scope >= 0
        counted = known & ((kind == Kind.TRADE) | (decoded.sequence >= 0))
        members = np.flatnonzero(counted)
        verdicts = np.full(len(records), -1, np.int8)
        sessions = np.zeros(len(records), np.int32)
        names = [""]
        if len(members):
            stepped = self._step(decoder, decoded, raw, members, named.lined)
            verdicts[members] = stepped.verdicts
            sessions[members] = stepped.session
            names = stepped.session_names
            self._take(stepped, epoch)
            stale = np.flatnonzero((verdicts == Verdict.STALE) & (kind == Kind.TRADE))
            bad += [
                Bad(int(i), "stale", "sequence", "in or below an abandoned range") for i in stale
            ]
        judged = Judged(kind, verdicts, sessions, names, now_ms)
        by_id = rows_told_by_id(decoder, decoded, verdicts)
        kept = self._kept(decoder, decoded, judged, by_id, epoch)
        if named.lined is not None and len(members):
            new = message_counts(decoded, by_id), message_counts(decoded, by_id & kept)
            copies = Copies.of(verdicts, told_by_id(decoder, verdicts) & (kind == Kind.TRADE), *new)
            self._lines.count(decoded, members, named.lined, copies)
        self._accept(decoded, raw, judged, kept, epoch)
        self._bury(records, bad, epoch)

    @staticmethod
    def _count(decoder: Feed, decoded: Decoded, kind: npt.NDArray[np.int8], epoch: Epoch) -> None:
        """Count control messages by a bounded set of names, and attributes that are unknown."""
        named = decoder.description.event
        epoch.controls.update(
            (decoder.name, named(decoded.events.get(message, "")))
            for message in np.flatnonzero(kind == Kind.CONTROL).tolist()
        )
        for attribute, count in decoded.unknown.items():
            epoch.unknown[decoder.name, attribute] += count

    def _send_home(self, decoded: Decoded, bad: list[Bad]) -> npt.NDArray[np.int8]:
        """Mark records whose key belongs in another partition: their numbers count there."""
        away = np.array([not self._is_home(scope) for scope in decoded.scopes], dtype=bool)
        if not away.any():
            return decoded.kind
        lost = (decoded.scope >= 0) & away[decoded.scope]
        already = {entry.message for entry in bad}
        for i in np.flatnonzero(lost):
            if int(i) not in already:
                home = partition_of(decoded.scopes[decoded.scope[i]].encode(), self._partitions)
                bad.append(
                    Bad(int(i), "wrong-partition", "key", f"expected partition {home} of its key")
                )
        decoded.scope[lost] = -1
        return np.where(lost, np.int8(Kind.BAD), decoded.kind)

    @staticmethod
    def _refuse_lines(
        refused: tuple[int, ...], kind: npt.NDArray[np.int8], bad: list[Bad]
    ) -> npt.NDArray[np.int8]:
        """Mark records that name no line: their numbers count, as of a record without one."""
        already = {entry.message for entry in bad}
        for at in refused:
            if at not in already:
                detail = "expected 1 to 32 of A-Z a-z 0-9 . _ -"
                bad.append(Bad(at, "bad-line", "line", detail))
        changed = kind.copy()
        changed[list(refused)] = Kind.BAD
        return changed

    def _is_home(self, scope: str) -> bool:
        home = self._at_home.get(scope)
        if home is None:
            if len(self._at_home) >= PARTITION_CACHE_MAX:
                self._at_home.clear()
            home = partition_of(scope.encode(), self._partitions) == self._partition
            self._at_home[scope] = home
        return home

    def _step(
        self,
        decoder: Feed,
        decoded: Decoded,
        raw: RawBatch,
        members: Indices,
        lined: Lined | None,
    ) -> BatchStep:
        batch = Batch(
            scopes=decoded.scopes,
            scope=decoded.scope[members],
            sequence=decoded.sequence[members],
            session=decoded.session[members],
            sessions=decoded.sessions,
            event_time_ns=decoded.event_time_ns[members],
            offset=raw.offsets[members],
            append_ms=raw.append_time_ms[members],
            partition=self._partition,
            lined=None if lined is None else lined.of(members),
        )
        rule = decoder.description.session_rule
        return step_batch(self._table.get, batch, rule, self._judging.horizon_ms)

    def _take(self, stepped: BatchStep, epoch: Epoch) -> None:
        for scope, state in stepped.states.items():
            self._table.put(scope, state)
        self._lines.took(stepped.states)
        epoch.events += stepped.events
        epoch.duplicates.update(stepped.duplicates)
        counts = np.bincount(stepped.verdicts, minlength=len(Verdict))
        for verdict in Verdict:
            epoch.verdicts[verdict.name.lower()] += int(counts[verdict])

    def _kept(
        self, decoder: Feed, decoded: Decoded, judged: Judged, by_id: Bools, epoch: Epoch
    ) -> Bools:
        """Of each row, whether it is accepted and no repeat."""
        verdicts = judged.verdicts
        accepted = (judged.kind == Kind.TRADE) & (verdicts >= 0) & _ACCEPTED[verdicts]
        kept: Bools = accepted[decoded.rows.column("message").to_numpy()]
        asked = kept & by_id
        return kept & ~self._row_ids.repeated(decoder, decoded, judged, asked, epoch.duplicates)

    def _accept(
        self, decoded: Decoded, raw: RawBatch, judged: Judged, kept: Bools, epoch: Epoch
    ) -> None:
        rows, verdicts = decoded.rows, judged.verdicts
        message = rows.column("message").to_numpy()
        if not kept.all():
            rows = rows.filter(pa.array(kept))
            message = message[kept]
        if not rows.num_rows:
            return
        sequence = decoded.sequence[message]
        derived = {
            "session": pa.DictionaryArray.from_arrays(
                pa.array(judged.sessions[message]), pa.array(judged.names, pa.string())
            ),
            "sequence": pa.array(sequence, mask=sequence < 0),
            "late": pa.array(verdicts[message] == Verdict.LATE),
            "ingest_time": pc.multiply(pa.array(raw.append_time_ms[message]), 1000).cast(MICROS),
            "source_offset": pa.array(raw.offsets[message]),
        }
        columns = dict(zip(rows.schema.names, rows.columns, strict=True)) | derived
        columns |= self._enriched(rows, derived["late"])
        log = self._stream.log_schema
        epoch.rows.append(
            pa.RecordBatch.from_arrays(
                [
                    # What neither the venue said nor the sequencer found (enrichment) is null.
                    columns[field.name]
                    if field.name in columns
                    else pa.nulls(rows.num_rows, field.type)
                    for field in log
                ],
                schema=log,
            )
        )

    def _enriched(self, rows: pa.RecordBatch, late: pa.Array) -> dict[str, pa.Array]:
        """What a worker under load leaves out: a query computes it then, by the same function."""
        if "notional" not in self._stream.log_schema.names:
            return {}
        if not self._enriches():
            self._ticks.forget()
            return {}
        return {"notional": self._notional(rows), "tick_direction": self._ticks.of(rows, late)}

    def _bury(self, records: Sequence[Record], bad: Sequence[Bad], epoch: Epoch) -> None:
        for entry in sorted(bad, key=lambda found: found.message):
            record = records[entry.message]
            epoch.reasons[entry.reason] += 1
            epoch.dead_letters.append(
                dead_letter(
                    stream=self._stream,
                    partition=self._partition,
                    offset=record.offset,
                    key=record.key,
                    value=record.value,
                    headers=tuple(record.headers),
                    timestamp_ms=record.timestamp,
                    reason=entry.reason,
                    field_name=entry.field,
                    detail=entry.detail,
                )
            )
