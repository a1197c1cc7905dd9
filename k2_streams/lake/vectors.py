"""Reading what a table's metadata says of the log: the vector at its head, and whose commit it is.

A snapshot's summary is its last writer's. Another engine's snapshot says nothing of offsets, so the
vector is looked for in the head, then in its ancestors, then in the table's property of that name.
"""

from collections.abc import Iterator

import msgspec
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2_streams.core.vector import SUMMARY_COMMIT_ID, SUMMARY_OFFSETS, Vector
from k2_streams.lake.claim import Claim, goes_back
from k2_streams.lake.errors import VectorMissingError, VectorWentBackError


def summary_value(snapshot: Snapshot, key: str) -> str | None:
    """What a snapshot's summary says under `key`."""
    return snapshot.summary.additional_properties.get(key) if snapshot.summary else None


def snapshot_vector(snapshot: Snapshot) -> Vector | None:
    """The vector that a snapshot itself carries.

    Raises:
        VectorMissingError: it carries something under that name that is not a vector.
    """
    text = summary_value(snapshot, SUMMARY_OFFSETS)
    return None if text is None else _decode(text, f"snapshot {snapshot.snapshot_id}")


def ancestry(metadata: TableMetadata) -> Iterator[Snapshot]:
    """The head and its ancestors, newest first, as far as they have not expired."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    snapshot = metadata.current_snapshot()
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else by_id.get(parent)


def head_vector(metadata: TableMetadata) -> Vector:
    """What the table holds of the log.

    Raises:
        VectorMissingError: it has rows, and nothing says which.
        VectorWentBackError: the newest vector is behind the one before it.
    """
    head = metadata.current_snapshot()
    if head is None:
        return Vector()
    vectors = (vector for s in ancestry(metadata) if (vector := snapshot_vector(s)) is not None)
    newest = next(vectors, None)
    if newest is not None:
        before = next(vectors, None)
        back = goes_back(before, newest) if before is not None else None
        if back is not None:
            raise VectorWentBackError(f"k2.trades at snapshot {head.snapshot_id}: {back}")
        return newest
    mirrored = metadata.properties.get(SUMMARY_OFFSETS)
    if mirrored is not None:
        return _decode(mirrored, "the table's property")
    if total_rows(head) == 0:
        return Vector()
    raise VectorMissingError(
        f"k2.trades has {summary_value(head, 'total-records')} rows at snapshot "
        f"{head.snapshot_id}: expected {SUMMARY_OFFSETS} in it, in an ancestor or in the table's "
        "properties, found none"
    )


def find_commit(metadata: TableMetadata, claim: Claim) -> Snapshot | None:
    """The snapshot that the claim's commit made, if it is part of the table's history."""
    for snapshot in ancestry(metadata):
        commit_id = summary_value(snapshot, SUMMARY_COMMIT_ID)
        if commit_id == claim.commit_id and claim.made(commit_id, snapshot_vector(snapshot)):
            return snapshot
    return None


def total_rows(snapshot: Snapshot) -> int | None:
    """The rows of the table at a snapshot; None where its writer did not say."""
    text = summary_value(snapshot, "total-records")
    return None if text is None else int(text)


def _decode(text: str, where: str) -> Vector:
    try:
        return Vector.decode(text)
    except msgspec.DecodeError as error:
        raise VectorMissingError(
            f"{SUMMARY_OFFSETS} of {where}: expected a vector, found {text!r} ({error})"
        ) from error
