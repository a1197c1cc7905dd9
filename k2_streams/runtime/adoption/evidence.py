"""What the lake knows of each partition of a raw topic: rows, events, dead letters.

1. Events and dead letters, as they were published.
2. A first look at the rows: how far each partition had come.
3. What is certain: rows and events are both whole before a time. The table's vector says how many
   events had been published at its last checkpoint; if the ledger has as many, they are whole as
   far as the rows are, else as far as its own last one.
4. A second look: which numbers have rows, and which trade ids were seen.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from k2_streams.core.adoption.rebuild import ScopeEvidence
from k2_streams.core.dedup.bloom import Hashes
from k2_streams.core.dedup.ids import Window
from k2_streams.core.ledger.gap_events import event_of
from k2_streams.core.records.events import AnyEvent, stamped
from k2_streams.core.records.source import RawInput
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Vector
from k2_streams.core.sequence.scopes import exchange_of, is_connection
from k2_streams.kafka.transactions import OutputRecord
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.scan import scan
from k2_streams.lake.table import Lake
from k2_streams.runtime.adoption import ids, numbers
from k2_streams.runtime.adoption.ids import RecentIds
from k2_streams.runtime.adoption.letters import letter_of
from k2_streams.runtime.adoption.numbers import RowNumbers

_PROGRESS = ("log_partition", "source_offset", "accepted_time", "ingest_time")


@dataclass(slots=True)
class PartitionEvidence:
    """A partition of the raw topic, as the lake knows it.

    Attributes:
        rows: how many.
        raw_next: no row, event or letter is of a raw record at or behind this offset.
        accepted_us: of the newest row; 0: there is none.
        append_ms: the largest append time of a row's raw record.
        events: in the order of their topic, as far as this version reads them.
        event_rows: events, with those that it does not read.
        letters: dead letters, as records, in their order.
        unnumbered: places in `letters` of those without a sequence number.
        ids: trade ids that are remembered, by bucket.
        scopes: what its states are made of.
    """

    rows: int = 0
    raw_next: int = 0
    accepted_us: int = 0
    append_ms: int = 0
    events: list[AnyEvent] = field(default_factory=list)
    event_rows: int = 0
    letters: list[OutputRecord] = field(default_factory=list)
    unnumbered: list[int] = field(default_factory=list)
    ids: dict[int, Hashes] = field(default_factory=dict)
    scopes: list[ScopeEvidence] = field(default_factory=list)

    @property
    def newest_us(self) -> int:
        """When the newest row or event was accepted."""
        return max(self.accepted_us, self._newest_event_us)

    @property
    def _newest_event_us(self) -> int:
        return max((event.accepted_time_us for event in self.events), default=0)

    def certain_us(self, published: int | None) -> int:
        """Rows and events that were accepted before this are all in the lake.

        Args:
            published: events at the last checkpoint whose rows are there; None: not known.
        """
        is_whole = published is not None and self.event_rows >= published
        newest_us = self.accepted_us
        return newest_us if is_whole else min(newest_us, self._newest_event_us)


def read_evidence(
    config: LakeConfig,
    source: RawInput,
    vector: Vector,
    partitions: int,
    window: Window,
    report: Callable[[str], None],
) -> list[PartitionEvidence]:
    """Read the tables of a raw topic.

    Args:
        config: of the lake.
        source: the raw topic.
        vector: of the table of its rows.
        partitions: of the topic.
        window: how long ids are remembered.
        report: told of each step.

    Raises:
        LakeError: a table cannot be read.
    """
    found = [PartitionEvidence() for _ in range(partitions)]
    ledger = source.ledger
    for row in _rows_in_order(config, ledger.gap_events):
        _take_event(found[row["log_partition"]], row)
    report(f"read {sum(len(one.events) for one in found)} events")
    for row in _rows_in_order(config, ledger.dead_letters):
        _take_letter(found[row["log_partition"]], row, source)
    report(f"read {sum(len(one.letters) for one in found)} dead letters")
    with closing(Lake(config, stream=source.stream)) as lake:
        for part in scan(lake, _PROGRESS):
            _take_progress(found, part)
        report(f"found {sum(one.rows for one in found)} rows")
        offsets = vector.topics.get(source.stream.log)
        published = {} if offsets is None else offsets.events
        certain = {at: one.certain_us(published.get(at)) for at, one in enumerate(found)}
        _take_rows(lake, found, certain, window)
    report(f"read the numbers of {sum(len(one.scopes) for one in found)} scopes")
    return found


def _rows_in_order(config: LakeConfig, stream: Stream) -> Iterable[dict[str, Any]]:
    """The rows of a log of the ledger in the order in which they were published."""
    with closing(Lake(config, stream=stream)) as lake:
        parts = list(scan(lake, tuple(stream.table_schema.names)))
    if not parts:
        return
    order = [("log_partition", "ascending"), ("log_offset", "ascending")]
    for batch in pa.concat_tables(parts).sort_by(order).to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _take_event(into: PartitionEvidence, row: Mapping[str, Any]) -> None:
    into.event_rows += 1
    event = event_of(row)
    if event is not None:
        into.events.append(stamped(event, _micros(row["accepted_time"])))
        into.raw_next = max(into.raw_next, row["source_offset"] + 1)


def _take_letter(into: PartitionEvidence, row: Mapping[str, Any], source: RawInput) -> None:
    if row["sequence"] is None:
        into.unnumbered.append(len(into.letters))
    into.letters.append(letter_of(row, source))
    into.raw_next = max(into.raw_next, row["source_offset"] + 1)


def _take_progress(found: list[PartitionEvidence], part: pa.Table) -> None:
    counted = part.group_by("log_partition").aggregate(
        [("source_offset", "max"), ("accepted_time", "max"), ("ingest_time", "max"),
         ("source_offset", "count")]
    )  # fmt: skip
    for row in counted.to_pylist():
        into = found[row["log_partition"]]
        into.rows += row["source_offset_count"]
        into.raw_next = max(into.raw_next, row["source_offset_max"] + 1)
        into.accepted_us = max(into.accepted_us, _micros(row["accepted_time_max"]))
        into.append_ms = max(into.append_ms, _micros(row["ingest_time_max"]) // 1_000)


def _take_rows(
    lake: Lake, found: list[PartitionEvidence], certain: Mapping[int, int], window: Window
) -> None:
    connections = _connections(found)
    of_exchange: dict[tuple[int, str], list[str]] = {}
    for partition, one in enumerate(found):
        for scope in sorted({event.scope for event in one.events if is_connection(event.scope)}):
            of_exchange.setdefault((partition, exchange_of(scope)), []).append(scope)
    rows = RowNumbers(certain, connections)
    append_ms = {at: one.append_ms for at, one in enumerate(found)}
    recent = RecentIds(window, append_ms, of_exchange)
    has_ids = ids.TRADE_ID in lake.stream.table_schema.names
    columns = dict.fromkeys((*numbers.COLUMNS, *(ids.COLUMNS if has_ids else ())))
    for part in scan(lake, tuple(columns)):
        rows.add(part)
        if has_ids:
            recent.add(part)
    scopes = rows.scopes()
    for partition, one in enumerate(found):
        one.ids = recent.of(partition)
        by_scope: dict[str, list[AnyEvent]] = {}
        for event in one.events:
            by_scope.setdefault(event.scope, []).append(event)
        named = {scope for at, scope in scopes if at == partition}
        one.scopes = [
            ScopeEvidence(
                scope,
                partition,
                scopes.get((partition, scope), {}),
                by_scope.get(scope, ()),
                certain[partition],
                one.accepted_us,
                one.append_ms,
            )
            for scope in sorted(named | by_scope.keys())
        ]


def _connections(found: Iterable[PartitionEvidence]) -> numbers.Connections:
    """Per partition, exchange and session the connection, where the events name exactly one."""
    named: dict[tuple[int, str, str], set[str]] = {}
    for partition, one in enumerate(found):
        for event in one.events:
            if is_connection(event.scope):
                key = (partition, exchange_of(event.scope), event.session)
                named.setdefault(key, set()).add(event.scope)
    return {key: min(scopes) for key, scopes in named.items() if len(scopes) == 1}


def _micros(moment: Any) -> int:
    """A time of a row, in microseconds since 1970."""
    return int(pa.scalar(moment, pa.timestamp("us", tz="UTC")).value)
