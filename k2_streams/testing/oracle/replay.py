"""The state as the raw log makes it, message by message, against what the changelog holds.

The worker processes whole batches; here `step` classifies one message after the other, from the
first record on, and the result must be the same bytes.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from k2_streams.core.records.partitioner import partition_of
from k2_streams.core.records.source import RawInput
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.step import Nature, ScopeMessage, ScopeState, step
from k2_streams.feeds.feed import CANONICAL, Feeds, Kind, RawBatch, UnknownFeedError, feed
from k2_streams.feeds.plugins import with_plugged_in
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import Record
from k2_streams.state.codec import POSITION_KEY, add_hash, row_hash, shared_table
from k2_streams.state.position import Position, RowSum, decode_position
from k2_streams.testing.oracle.report import Check
from k2_streams.testing.oracle.topic_records import read_topic
from k2_streams.testing.streams import DECODERS


class _ReplayedPartition:
    """One partition's states, as far as its records have come."""

    def __init__(
        self, feeds: Feeds, number: int, partitions: int, horizon_ms: int, tolerance_ms: int
    ) -> None:
        self._feeds = feeds
        self._number = number
        self._partitions = partitions
        self._horizon_ms = horizon_ms
        self._tolerance_ms = tolerance_ms
        self.states: dict[str, ScopeState] = {}
        self.next = 0

    def take(self, records: Sequence[Record]) -> None:
        """Process records, one by one."""
        for name, members in groupby(records, _feed_of):
            self._process(name, list(members))
        if records:
            self.next = records[-1].offset + 1

    def _process(self, name: str, records: Sequence[Record]) -> None:
        try:
            decoder = feed(name, self._feeds)
        except UnknownFeedError:
            return
        decoded = decoder.decode(
            RawBatch(
                self._number,
                np.array([record.offset for record in records]),
                np.array([record.timestamp for record in records]),
                [record.key for record in records],
                [record.value for record in records],
            )
        )
        home = [partition_of(one.encode(), self._partitions) for one in decoded.scopes]
        columns = (
            decoded.kind, decoded.scope, decoded.sequence, decoded.session, decoded.event_time_ns,
        )  # fmt: skip
        for record, kind, scope, sequence, session, time_ns in zip(
            records, *(column.tolist() for column in columns), strict=True
        ):
            if scope < 0 or sequence < 0 or home[scope] != self._number:
                continue
            named = decoded.sessions[session] if session >= 0 else None
            key = decoded.scopes[scope]
            message = ScopeMessage(
                sequence, named, time_ns, key, self._number, record.offset, record.timestamp,
                _nature_of(kind, record),
            )  # fmt: skip
            after = step(
                self.states.get(key),
                message,
                decoder.description.session_rule,
                self._horizon_ms,
                decoder.description.tolerance_ms(self._tolerance_ms),
            )
            if after.state is not None:
                self.states[key] = after.state


def _nature_of(kind: int, record: Record) -> Nature:
    if kind == Kind.BAD:
        return Nature.DEAD
    is_redriven = dict(record.headers).get("k2.redrive") is not None
    return Nature.REDRIVEN if is_redriven else Nature.USUAL


def _feed_of(record: Record) -> str:
    named = dict(record.headers).get("feed")
    return named.decode(errors="replace") if named else CANONICAL


async def recomputed(
    config: KafkaConfig,
    source: RawInput,
    changelog: str,
    partitions: int,
    *,
    horizon_ms: int,
    tolerance_ms: int,
) -> list[Check]:
    """Rows of the changelog, its position records and checksums, against the raw log.

    Raises:
        NotReachedError: there is no such topic.
    """
    feeds = with_plugged_in(source.stream.name, DECODERS[source.stream.name])
    made = {
        n: _ReplayedPartition(feeds, n, partitions, horizon_ms, tolerance_ms)
        for n in range(partitions)
    }
    async for number, records in read_topic(config, source.raw):
        made[number].take(records)
    held: dict[int, dict[bytes, bytes]] = {number: {} for number in range(partitions)}
    positions: dict[int, Position] = {}
    async for number, records in read_topic(config, changelog):
        for record in records:
            if record.key == POSITION_KEY:
                positions[number] = decode_position(record.value or b"")
            elif record.value is None:
                held[number].pop(record.key or b"", None)
            else:
                held[number][record.key or b""] = record.value
    rows = Check("state: rows as recomputed", 0, 0)
    places = Check("state: positions at the raw log's end", 0, 0)
    for number, partition in made.items():
        _compare(rows, number, partition, held[number])
        _check_position(places, number, partition, held[number], positions.get(number))
    return [rows, places]


def _compare(check: Check, number: int, made: _ReplayedPartition, held: dict[bytes, bytes]) -> None:
    expected = {
        scope.encode(): sequence_codec.encode(state) for scope, state in made.states.items()
    }
    check.expected += len(expected)
    check.found += sum(held.get(key) == value for key, value in expected.items())
    for key in sorted(expected.keys() | held.keys()):
        if expected.get(key) != held.get(key):
            check.differ(f"partition {number}, {key.decode()}: {_shown(expected, held, key)}")


def _shown(expected: dict[bytes, bytes], held: dict[bytes, bytes], key: bytes) -> str:
    sides: list[Any] = [
        sequence_codec.decode(side[key]) if key in side else None for side in (expected, held)
    ]
    return f"expected {sides[0]}, found {sides[1]}"


def _check_position(
    check: Check,
    number: int,
    made: _ReplayedPartition,
    held: dict[bytes, bytes],
    position: Position | None,
) -> None:
    if position is None:
        if made.next:
            check.differ(f"partition {number}: expected a position, found none")
        return
    check.expected += made.next
    check.found += position.next_offset
    found: dict[str, RowSum] = {}
    for key, value in held.items():
        name = shared_table(key) or "sequence"
        was = found.get(name, RowSum())
        found[name] = RowSum(was.rows + 1, add_hash(was.checksum, new=row_hash(key, value)))
    for name in sorted({"sequence", "deferral", *found}):
        recorded, there = position.tables.get(name, RowSum()), found.get(name, RowSum())
        if recorded != there:
            check.differ(
                f"partition {number}: its position has {recorded.rows} rows with checksum "
                f"{recorded.checksum:016x} of table {name}, its changelog holds {there.rows} with "
                f"{there.checksum:016x}"
            )
