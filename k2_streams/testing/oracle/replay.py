"""The state as the raw log makes it, message by message, against what the changelog holds.

The worker processes whole batches; here `step` classifies one message after the other, from the
first record on, and the result must be the same bytes. Which records died is read from the dead
letters, as the feed of then decided it: today's may have been mended.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
import numpy as np

from k2_streams.core.lines.room import LineRoom, line_name
from k2_streams.core.lines.stats import alive
from k2_streams.core.lines.step import Arrival, release, step
from k2_streams.core.records.partitioner import partition_of
from k2_streams.core.records.source import RawInput
from k2_streams.core.records.vector import Range
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.expiry import NEVER_MS, expired, margin_ms
from k2_streams.core.sequence.scopes import exchange_of
from k2_streams.core.sequence.step import Nature, ScopeMessage, ScopeState
from k2_streams.core.types import TopicPartition
from k2_streams.feeds.feed import (
    CANONICAL,
    Feed,
    Feeds,
    Kind,
    RawBatch,
    UnknownFeedError,
    feed,
)
from k2_streams.feeds.plugins import with_plugged_in
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import Record
from k2_streams.kafka.offsets import end_offsets
from k2_streams.runtime.task.gap_keeper import GAPS, GapsState
from k2_streams.runtime.task.headers import FEED, LINE, REDRIVE, last_header
from k2_streams.runtime.task.sequencer import MAX_APPEND_MS, MIN_APPEND_MS
from k2_streams.state.codec import POSITION_KEY, add_hash, row_hash, shared_table
from k2_streams.state.position import Position, RowSum, decode_position
from k2_streams.testing.oracle.dead_letters import DeadNumbers, dead_numbers
from k2_streams.testing.oracle.report import Check
from k2_streams.testing.oracle.topic_records import read_topic
from k2_streams.testing.streams import DECODERS


class ReplayedPartition:
    """One partition's states, as far as its records have come.

    Args:
        feeds: of its stream, as they are today.
        number: of the partition.
        partitions: how many there are.
        horizon_ms: how long a gap waits for late records.
        tolerance_ms: how much later than its session a repeat may be.
        dead: which of its records died.
    """

    def __init__(
        self,
        feeds: Feeds,
        number: int,
        partitions: int,
        *,
        horizon_ms: int,
        tolerance_ms: int,
        dead: DeadNumbers,
    ) -> None:
        self._feeds = feeds
        self._number = number
        self._partitions = partitions
        self._horizon_ms = horizon_ms
        self._tolerance_ms = tolerance_ms
        self._dead = dead
        self._lines = LineRoom({})
        self._now_ms = 0  # stream time
        self.states: dict[str, ScopeState] = {}
        self.next = 0

    def take(self, records: Sequence[Record]) -> None:
        """Process records, one by one."""
        for name, members in groupby(records, _feed_of):
            self._process(name, list(members))
        if records:
            self.next = records[-1].offset + 1

    def settle(self, position: Position) -> None:
        """Decide what stream time alone has decided by a position: gaps of silent scopes."""
        time_ms = max(self._now_ms, position.append_time_ms)
        # What its section says is not older than any gap that is left.
        oldest_ms = (GAPS.read(position.sections) or GapsState()).oldest_ms
        waited_ms = time_ms - margin_ms(self._horizon_ms)
        if oldest_ms != NEVER_MS:
            waited_ms = min(waited_ms, oldest_ms - 1 + self._horizon_ms)
        for scope, state in self.states.items():
            released, _ = release(state, scope, self._number, time_ms)
            self.states[scope], _ = expired(
                released, scope, self._number, waited_ms, self._horizon_ms
            )

    def _process(self, name: str, records: Sequence[Record]) -> None:
        times_ms = np.clip([record.timestamp for record in records], MIN_APPEND_MS, MAX_APPEND_MS)
        try:
            decoder = feed(name, self._feeds)
        except UnknownFeedError:
            self._now_ms = max(self._now_ms, *times_ms.tolist())
            return
        description = decoder.description
        for message, line in self._messages(decoder, records, times_ms):
            key = message.scope
            arrival = self._arrival(line, key, message.append_ms)
            if message.sequence is None:
                continue
            after = step(
                self.states.get(key),
                message,
                arrival,
                description.session_rule,
                self._horizon_ms,
                description.tolerance_ms(self._tolerance_ms),
            )
            if after.state is not None:
                self.states[key] = after.state

    def _messages(
        self, decoder: Feed, records: Sequence[Record], times_ms: np.ndarray
    ) -> Iterator[tuple[ScopeMessage, str]]:
        """Each record's message and line: no number where it counts for no scope of these."""
        decoded = decoder.decode(
            RawBatch(
                self._number,
                np.array([record.offset for record in records]),
                times_ms,
                [record.key for record in records],
                [record.value for record in records],
            )
        )
        columns = (
            times_ms, decoded.kind, decoded.scope, decoded.sequence, decoded.session,
            decoded.event_time_ns,
        )  # fmt: skip
        for record, time_ms, kind, scope, sequence, session, time_ns in zip(
            records, *(column.tolist() for column in columns), strict=True
        ):
            key = decoded.scopes[scope] if scope >= 0 else ""
            message = ScopeMessage(
                sequence if key and sequence >= 0 else None,
                decoded.sessions[session] if session >= 0 else None,
                time_ns, key, self._number, record.offset, time_ms, _nature_of(kind, record),
            )  # fmt: skip
            message = self._as_it_died(message)
            is_here = partition_of(message.scope.encode(), self._partitions) == self._number
            if not is_here:
                message = msgspec.structs.replace(message, sequence=None)
            counts = is_here and (kind == Kind.TRADE or message.sequence is not None)
            named = last_header(record.headers, LINE) if counts else None
            yield message, "" if named is None else (line_name(named) or "")

    def _as_it_died(self, message: ScopeMessage) -> ScopeMessage:
        """The message as the feed of then read it, if its record is a dead letter."""
        if message.offset not in self._dead:
            return message
        died = self._dead[message.offset]
        if died is None:
            return msgspec.structs.replace(message, sequence=None)
        dead = msgspec.structs.replace(message, nature=Nature.DEAD)
        if (message.scope, message.sequence) == (died.scope, died.sequence):
            return dead
        return msgspec.structs.replace(dead, event_time_ns=0, **died._asdict())

    def _arrival(self, line: str, scope: str, append_ms: int) -> Arrival:
        self._now_ms = max(self._now_ms, append_ms)
        exchange = exchange_of(scope)
        if line and not self._lines.takes((exchange, line), self._now_ms):
            line = ""
        return Arrival(line, self._now_ms, alive(self._lines.seen_ms, exchange, self._now_ms))


def _nature_of(kind: int, record: Record) -> Nature:
    if kind == Kind.BAD:
        return Nature.DEAD
    is_redriven = last_header(record.headers, REDRIVE) is not None
    return Nature.REDRIVEN if is_redriven else Nature.USUAL


def _feed_of(record: Record) -> str:
    named = last_header(record.headers, FEED)
    return CANONICAL if named is None else named.decode(errors="replace")


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
    dead = await dead_numbers(read_topic(config, source.dead_letter), source.raw)
    made = {
        number: ReplayedPartition(
            feeds,
            number,
            partitions,
            horizon_ms=horizon_ms,
            tolerance_ms=tolerance_ms,
            dead=dead.get(number, {}),
        )
        for number in range(partitions)
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
    raw = [TopicPartition(source.raw, number) for number in made]
    ends = {at.partition: end for at, end in (await end_offsets(config, raw)).items()}
    rows = Check("state: rows as recomputed", 0, 0)
    places = Check("state: positions at the raw log's end", 0, 0)
    for number, partition in made.items():
        if number in positions:
            partition.settle(positions[number])
        _compare(rows, number, partition, held[number])
        # Behind the last record lie the markers of its transaction, if it was sent in one.
        until = Range(partition.next, ends[number])
        _check_position(places, number, until, held[number], positions.get(number))
    return [rows, places]


def _compare(check: Check, number: int, made: ReplayedPartition, held: dict[bytes, bytes]) -> None:
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
    until: Range,
    held: dict[bytes, bytes],
    position: Position | None,
) -> None:
    if position is None:
        if until.start:
            check.differ(f"partition {number}: expected a position, found none")
        return
    is_there = until.start <= position.next_offset <= until.end
    check.expected += position.next_offset if is_there else until.start
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
