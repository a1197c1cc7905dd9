"""What else must be true of a platform that has worked all it was sent: `k2 verify --deep`.

Lake, log, group and state against each other, where the plain comparison holds each against the
truth.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records import log_record as trade_log
from k2_streams.core.records.source import RawInput
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Vector
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.offsets import end_offsets, group_offsets, open_transactions
from k2_streams.kafka.topics import changelog_topic
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.snapshots import Head, SnapshotInfo
from k2_streams.lake.table import Lake
from k2_streams.runtime.settings.worker import Settings
from k2_streams.testing.oracle.check_events import RawPlace
from k2_streams.testing.oracle.observed import RETRY_EVERY_S, lake_rows
from k2_streams.testing.oracle.report import Check
from k2_streams.testing.oracle.sql import compare_in_sql
from k2_streams.testing.oracle.topic_records import read_topic

#: A dead task's transaction ends by time-out after 15 s, and the next checkpoint moves the group.
SETTLED_WITHIN_S = 60.0


async def deep_checks(
    settings: Settings,
    source: RawInput,
    truths: Sequence[Path],
    repaired: Collection[RawPlace] = (),
) -> list[Check]:
    """All of them; `repaired` as `compare_in_sql` has it.

    Raises:
        NotReachedError, LakeError: broker or lake cannot be read.
    """
    # It stands on what tasks run on, which the comparison with a truth does without.
    from k2_streams.testing.oracle.replay import recomputed  # noqa: PLC0415

    partitions = settings.partitions
    changelog = changelog_topic(settings.app_id, "sequence")
    checks = [
        await _no_open_transaction(settings, source, changelog),
        await _no_lag(settings, source),
        *await recomputed(
            settings.kafka,
            source,
            changelog,
            partitions,
            horizon_ms=settings.late_horizon_s * 1000,
            tolerance_ms=settings.conflict_tolerance_ms,
        ),
    ]
    head, files, lake_checks = await asyncio.to_thread(_lake, settings.lake, source.stream)
    checks += lake_checks
    checks.append(await _as_the_vector_says(settings, source.stream, head))
    checks += await asyncio.to_thread(
        compare_in_sql, truths, files, settings.lake.properties, repaired=repaired
    )
    return checks


async def sql_checks(
    settings: Settings,
    stream: Stream,
    truths: Sequence[Path],
    repaired: Collection[RawPlace] = (),
    *,
    by_id: bool = False,
) -> list[Check]:
    """Truth files against the lake's, in plain SQL; the rest as `compare_in_sql` has it.

    Raises:
        LakeError: the lake cannot be read.
    """
    _, files, _ = await asyncio.to_thread(_lake, settings.lake, stream)
    return await asyncio.to_thread(
        compare_in_sql, truths, files, settings.lake.properties, by_id=by_id, repaired=repaired
    )


async def _no_open_transaction(settings: Settings, source: RawInput, changelog: str) -> Check:
    """A committed reader must be able to read every topic to its end."""
    topics = (source.stream.log, source.events, source.dead_letter, changelog)
    places = [TopicPartition(topic, p) for topic in topics for p in range(settings.partitions)]
    deadline = SYSTEM_CLOCK.monotonic() + SETTLED_WITHIN_S
    check = Check("log: partitions without an open transaction", len(places), 0)
    while True:
        left = await open_transactions(settings.kafka, places)
        if not left or SYSTEM_CLOCK.monotonic() > deadline:
            break
        await asyncio.sleep(RETRY_EVERY_S)
    check.found = len(places) - len(left)
    for (topic, partition), behind in sorted(left.items()):
        check.differ(f"{topic}-{partition}: {behind} offsets behind an open transaction")
    return check


async def _no_lag(settings: Settings, source: RawInput) -> Check:
    """The group's offsets, which lag tools read, reach the raw log's end."""
    places = [TopicPartition(source.raw, partition) for partition in range(settings.partitions)]
    ends = await end_offsets(settings.kafka, places)
    deadline = SYSTEM_CLOCK.monotonic() + SETTLED_WITHIN_S
    check = Check("group: offsets at the raw log's end", sum(ends.values()), 0)
    while True:
        found = await group_offsets(settings.kafka, settings.app_id)
        behind = {place: end for place, end in ends.items() if end and found.get(place) != end}
        if not behind or SYSTEM_CLOCK.monotonic() > deadline:
            break
        await asyncio.sleep(RETRY_EVERY_S)
    check.found = sum(found.get(place, 0) for place in places)
    for place, end in sorted(behind.items()):
        check.differ(f"{place}: expected {end}, found {found.get(place)}")
    return check


def _lake(config: LakeConfig, stream: Stream) -> tuple[Head, list[str], list[Check]]:
    """The head, its files, and what the lake says of itself."""
    lake = Lake(config, stream=stream)
    try:
        head = lake.head()
        planned = lake.plan(head.snapshot_id) if head.snapshot_id is not None else []
        vectors = vectors_check(lake.snapshots(), stream.log)
    finally:
        lake.close()
    paths = [one.path for one in planned]
    once = Check("lake: data files, each named once", len(paths), len(set(paths)))
    for path, times in Counter(paths).items():
        if times > 1:
            once.differ(f"{path}: {times} times")
    return head, sorted(set(paths)), [vectors, once]


def vectors_check(snapshots: Sequence[SnapshotInfo], log: str) -> Check:
    """From the head's oldest ancestor to the head no vector goes back.

    A snapshot of another engine carries none: it holds what its parent holds.
    """
    check = Check("lake: snapshots whose vector does not go back", 0, 0)
    seen: dict[int, int] = {}
    for snapshot in snapshots:
        if snapshot.vector is None or not snapshot.is_ancestor:
            continue
        check.expected += 1
        back = _goes_back(seen, snapshot.vector, log)
        check.found += back is None
        if back is not None:
            check.differ(f"snapshot {snapshot.id}: {back}")
    return check


def _goes_back(seen: dict[int, int], vector: Vector, log: str) -> str | None:
    """Where a snapshot's vector is behind the one before; `seen` moves on with it."""
    held = vector.topics.get(log)
    for partition, end in (held.next if held else {}).items():
        if end < seen.get(partition, 0):
            return f"{log}-{partition}: {end} after {seen[partition]}"
        seen[partition] = end
    return None


async def _as_the_vector_says(settings: Settings, stream: Stream, head: Head) -> Check:
    """Rows of the log below the vector, partition by partition, are the rows of the lake."""
    expected: Counter[int] = Counter()
    async for partition, records in read_topic(settings.kafka, stream.log):
        end = head.vector.next_of(stream.log, partition) or 0
        for record in records:
            if record.offset < end:
                batch = trade_log.decode(record.value or b"", partition, record.offset)
                expected[partition] += batch.rows.num_rows
    found = await asyncio.to_thread(_rows_by_partition, settings.lake, stream, head.snapshot_id)
    check = Check("lake: rows as the log holds below the vector", expected.total(), found.total())
    for partition in sorted(expected.keys() | found.keys()):
        if expected[partition] != found[partition]:
            check.differ(
                f"{stream.log}-{partition}: expected {expected[partition]} rows, "
                f"found {found[partition]}"
            )
    return check


def _rows_by_partition(config: LakeConfig, stream: Stream, snapshot_id: int | None) -> Counter[int]:
    found: Counter[int] = Counter()
    for batch in lake_rows(config, snapshot_id, stream, ("log_partition",)):
        counted: pa.StructArray = pc.value_counts(batch.column("log_partition"))
        for one in counted.to_pylist():
            found[one["values"]] += one["counts"]
    return found
