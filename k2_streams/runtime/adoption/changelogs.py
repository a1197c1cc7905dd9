"""The state of an adopted partition as the records of its changelogs."""

from collections.abc import Sequence
from typing import NamedTuple

from k2_streams.core.records.source import RawInput
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.kafka.transactions import ChangelogRows
from k2_streams.runtime.adoption.plan import AdoptedPartition
from k2_streams.runtime.task.gap_keeper import GAPS, GapsState
from k2_streams.runtime.task.line_keeper import LINES, LinesState
from k2_streams.state.codec import POSITION_KEY, add_hash, row_hash
from k2_streams.state.dedup_table import Buckets, buckets_section
from k2_streams.state.ids_codec import BucketSum, checksum_of, encode_ids
from k2_streams.state.position import Position, RowSum, encode_position


class Changelogs(NamedTuple):
    """The records of one partition, in their order."""

    ids: ChangelogRows
    scopes: ChangelogRows  # the position is the last


def changelogs_of(
    source: RawInput,
    adopted: AdoptedPartition,
    *,
    source_id: str,
    partitions: int,
    accepted_us: int,
) -> Changelogs:
    """What a take-over restores.

    Args:
        source: the raw topic.
        adopted: the partition.
        source_id: of the raw topic as it is now.
        partitions: of it.
        accepted_us: of the events that the ledger lacked; no row was accepted later.
    """
    scopes, dedup = source.tables
    rows = [
        (scope.encode(errors="surrogateescape"), sequence_codec.encode(state))
        for scope, state in adopted.states.items()
    ]
    checksum = 0
    for key, value in rows:
        checksum = add_hash(checksum, new=row_hash(key, value))
    buckets = tuple(
        BucketSum(end, len(hashes), checksum_of(hashes)) for end, hashes in adopted.ids.items()
    )
    evidence = adopted.evidence
    position = Position(
        source_id=source_id,
        partitions=partitions,
        next_offset=evidence.raw_next,
        accepted_time_us=accepted_us,
        append_time_ms=evidence.append_ms,
        tables={scopes: RowSum(len(rows), checksum), dedup: _sum_of(buckets)},
        outputs={
            source.stream.log: evidence.rows,
            source.events: len(evidence.events) + len(adopted.events),
            source.dead_letter: len(evidence.letters),
        },
        sections={
            LINES.name: LINES.write(LinesState()),
            GAPS.name: GAPS.write(GapsState(adopted.oldest_gap_ms)),
            dedup: buckets_section(dedup).write(Buckets(buckets)),
        },
    )
    ids = [(b"", value) for value in encode_ids(adopted.ids)]
    return Changelogs(ids, [*rows, (POSITION_KEY, encode_position(position))])


def _sum_of(buckets: Sequence[BucketSum]) -> RowSum:
    checksum = 0
    for bucket in buckets:
        checksum = add_hash(checksum, new=bucket.checksum)
    return RowSum(sum(bucket.ids for bucket in buckets), checksum)
