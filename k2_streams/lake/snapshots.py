"""What the lake says of itself: its head, its snapshots, what a commit made."""

from collections.abc import Iterable
from dataclasses import dataclass

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot

from k2_streams.core.records.vector import (
    PROPERTY_ADOPTED,
    SUMMARY_COMMIT_ID,
    LostLog,
    Vector,
    decode_lost,
)
from k2_streams.lake.vectors import (
    Link,
    ancestry,
    head_vector,
    snapshot_vector,
    summary_value,
    total_rows,
)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest snapshot of the table; of an empty table `snapshot_id` is None."""

    snapshot_id: int | None
    sequence_number: int
    vector: Vector
    rows: int
    timestamp_ms: int
    #: Logs that were lost with their broker, oldest first: the offsets of the present one go on
    #: from theirs.
    lost: tuple[LostLog, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot as its summary tells it."""

    id: int
    parent: int | None
    timestamp_ms: int
    operation: str
    rows_total: int
    rows_added: int
    files: int
    vector: Vector | None  # None: made by a writer that knows nothing of offsets
    commit_id: str | None
    refs: tuple[str, ...] = ()  # branches and tags that name it
    is_ancestor: bool = True  # of the head, or the head itself, as far as the metadata says so


@dataclass(frozen=True, slots=True)
class Committed:
    """An append that is in the table: its snapshot, and the head then current."""

    snapshot_id: int
    head: Head
    snapshots: int  # in the table's list then
    files: int
    size_bytes: int
    seconds_write: float
    seconds_commit: float
    attempts: int  # 1 unless another writer was in the way; 0 if it had landed before


def head_of(metadata: TableMetadata, earlier: Iterable[Iterable[Link]], log: str) -> Head:
    """The head of a table as loaded, proven with its earlier metadata where that is necessary.

    Args:
        metadata: of the table.
        earlier: as of `head_vector`.
        log: the topic whose rows the table holds.

    Raises:
        VectorMissingError, VectorWentBackError: the table does not say what it holds.
    """
    vector = head_vector(metadata, earlier, log=log)
    snapshot = metadata.current_snapshot()
    if snapshot is None:
        return Head(None, 0, vector, 0, 0)
    return Head(
        snapshot.snapshot_id,
        snapshot.sequence_number or 0,
        vector,
        total_rows(snapshot) or 0,
        snapshot.timestamp_ms,
        lost_logs(metadata),
    )


def lost_logs(metadata: TableMetadata) -> tuple[LostLog, ...]:
    """The logs of the table that were lost, as an adoption wrote them down, oldest first."""
    text = metadata.properties.get(PROPERTY_ADOPTED)
    return () if text is None else decode_lost(text)


def in_order(metadata: TableMetadata) -> list[Snapshot]:
    """A table's snapshots, oldest first, as they were committed: no clock has a part in it."""
    return sorted(metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0)


def main_history(metadata: TableMetadata) -> list[SnapshotInfo]:
    """The head and its ancestors, oldest first, and what was the head once and has a tag.

    A snapshot of another branch is none of them. What leads from the head to an old snapshot may
    have expired; a tag keeps it readable, and then it is listed.
    """
    line = {snapshot.snapshot_id: snapshot for snapshot in ancestry(metadata)}
    head = metadata.current_snapshot()
    newest = (head.sequence_number or 0) if head else 0
    were_heads = {entry.snapshot_id for entry in metadata.snapshot_log}
    names: dict[int, list[str]] = {}
    for name, ref in sorted(metadata.refs.items()):
        names.setdefault(ref.snapshot_id, []).append(name)
    tagged = {
        ref.snapshot_id
        for ref in metadata.refs.values()
        if ref.snapshot_ref_type is SnapshotRefType.TAG and ref.snapshot_id in were_heads
    }
    return [
        info_of(
            snapshot,
            refs=tuple(names.get(snapshot.snapshot_id, ())),
            is_ancestor=snapshot.snapshot_id in line,
        )
        for snapshot in in_order(metadata)
        if snapshot.snapshot_id in line
        or (snapshot.snapshot_id in tagged and (snapshot.sequence_number or 0) < newest)
    ]


def info_of(
    snapshot: Snapshot, *, refs: tuple[str, ...] = (), is_ancestor: bool = True
) -> SnapshotInfo:
    """What a snapshot says of itself, and its table of it."""

    def number(key: str) -> int:
        return int(summary_value(snapshot, key) or 0)

    return SnapshotInfo(
        id=snapshot.snapshot_id,
        parent=snapshot.parent_snapshot_id,
        timestamp_ms=snapshot.timestamp_ms,
        operation=snapshot.summary.operation.value if snapshot.summary else "unknown",
        rows_total=number("total-records"),
        rows_added=number("added-records"),
        files=number("total-data-files"),
        vector=snapshot_vector(snapshot),
        commit_id=summary_value(snapshot, SUMMARY_COMMIT_ID),
        refs=refs,
        is_ancestor=is_ancestor,
    )
