"""What the topics of an app hold, from whatever broker, without what says when a checkpoint was.

Left out, and why:

- offsets of a log, accepted times, `k2.*` headers of log records: they follow from when a
  checkpoint was, which is up to the machine;
- `tick_direction`: null where a batch begins; a query fills it in, and its answers are compared;
- how duplicates are gathered into events: one per checkpoint. Their sum is compared;
- the checkpoint's number and the ends of outputs in the position.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from k2_streams.core.dedup.ids import HASH_BYTES, to_bytes
from k2_streams.core.ledger.dead_letters import ACCEPTED_TIME
from k2_streams.core.records import events, log_record
from k2_streams.core.records.expand import in_log_columns
from k2_streams.core.records.stream import Stream
from k2_streams.state.codec import POSITION_KEY
from k2_streams.state.ids_codec import decode_ids
from k2_streams.state.position import decode_position
from k2_streams.testing.driver_topics import TopicRecord

#: Of each partition its items in their order, each with the scope that it is of.
Contents = dict[str, list[tuple[int, str, Any]]]
#: Columns of an answer that say where a row is in the log, and when it was accepted.
PLACE = ("log_partition", "log_offset", "log_row", "accepted_time")


class Difference(NamedTuple):
    """Where two contents first differ."""

    kind: str
    number: int
    expected: Any
    found: Any


def rows(stream: Stream, records: Sequence[TopicRecord]) -> list[tuple[int, str, Any]]:
    """The rows of a log: of every column the value."""
    found = []
    for record in records:
        batch = log_record.decode(record.value or b"", record.partition, record.offset)
        assert batch.source_partition == record.partition
        for row in in_log_columns(stream, batch.rows).to_pylist():
            row.pop("tick_direction", None)
            scope = ":".join(str(row[name]) for name in stream.key)
            found.append((record.partition, scope, row))
    return found


def sequence_events(records: Sequence[TopicRecord]) -> Contents:
    """Events as bytes, but for the accepted time; and the sums of duplicates."""
    found: list[tuple[int, str, Any]] = []
    duplicates: Counter[tuple[Any, ...]] = Counter()
    for record in records:
        event = events.decode(record.value or b"")
        assert record.key == event.scope.encode()
        if isinstance(event, events.Duplicates):
            what = (event.session, event.by, event.line)
            duplicates[record.partition, event.scope, what, None] += event.count
            for first, last in event.ranges:
                for number in range(first, last + 1):
                    duplicates[record.partition, event.scope, what, number] += 1
        else:
            found.append((record.partition, event.scope, events.encode(events.stamped(event, 0))))
    summed = [(p, scope, (*more, count)) for (p, scope, *more), count in duplicates.items()]
    return {"events": found, "duplicates": sorted(summed, key=repr)}


def dead_letters(
    records: Sequence[TopicRecord], scopes: Mapping[tuple[int, int], str]
) -> list[tuple[int, str, Any]]:
    """Dead letters: key, value and headers but for the accepted time.

    Args:
        records: of the topic.
        scopes: of the source's records, by partition and offset; else the letter's key.
    """
    return [
        (
            one.partition,
            scopes.get(
                (one.partition, int(dict(one.headers)["k2.offset"] or 0)), (one.key or b"").decode()
            ),
            (one.key, one.value, tuple(each for each in one.headers if each[0] != ACCEPTED_TIME)),
        )
        for one in records
    ]


def table(records: Sequence[TopicRecord]) -> list[tuple[int, str, Any]]:
    """A table of rows as it is restored from its changelog: the bytes of each row."""
    found: dict[tuple[int, bytes], bytes] = {}
    positions = {}
    for record in records:
        assert record.key is not None
        if record.key == POSITION_KEY:
            position = decode_position(record.value or b"")
            positions[record.partition] = (position.next_offset, dict(position.tables))
        elif record.value is None:
            found.pop((record.partition, record.key), None)
        else:
            found[record.partition, record.key] = record.value
    restored = [(p, _scope_of(key), value) for (p, key), value in sorted(found.items())]
    return restored + [(p, "", position) for p, position in sorted(positions.items())]


def _scope_of(key: bytes) -> str:
    """Of a timer the key that its agent gave it."""
    return key.decode().rpartition("\0")[2].lstrip("\x01\x02")


def ids(records: Sequence[TopicRecord]) -> list[tuple[int, str, Any]]:
    """The ids of a table of ids, by bucket."""
    found = set()
    for record in records:
        for bucket, hashes in decode_ids(record.value or b""):
            packed = to_bytes(hashes)
            found |= {
                (record.partition, "", (bucket, packed[at : at + HASH_BYTES].hex()))
                for at in range(0, len(packed), HASH_BYTES)
            }
    return sorted(found)


def answer(rows_of: pa.Table) -> list[tuple[int, str, Any]]:
    """The rows of a query's answer, in their order, but for their places in the log."""
    return [
        (0, f"{row['exchange']}:{row['symbol']}", row)
        for row in rows_of.drop_columns([*PLACE]).to_pylist()
    ]


def gaps(found: Iterable[Any]) -> list[tuple[int, str, Any]]:
    """Gaps as JSON has them."""
    decoded = [one if isinstance(one, dict) else json.loads(one) for one in found]
    return [(0, one["scope"], one) for one in decoded]


def of_scopes(contents: Contents, scopes: Iterable[str]) -> Contents:
    """What is of these scopes."""
    wanted = set(scopes)
    return {kind: [one for one in items if one[1] in wanted] for kind, items in contents.items()}


def first_difference(expected: Contents, found: Contents) -> Difference | None:
    """Where they first differ; None: nowhere."""
    assert expected.keys() == found.keys()
    for kind, items in expected.items():
        # A topic's partitions are read one after the other: each has its own order.
        ordered = sorted(items, key=lambda one: one[0])
        others = sorted(found[kind], key=lambda one: one[0])
        for number, (one, other) in enumerate(zip(ordered, others, strict=False)):
            if one != other:
                return Difference(kind, number, one, other)
        if len(ordered) != len(others):
            return Difference(kind, min(len(ordered), len(others)), len(ordered), len(others))
    return None
