"""Reading what a table's metadata says of the log: the vector at its head, and whose commit it is.

A snapshot's summary is its last writer's. A snapshot of another engine says nothing of offsets: it
holds the vector of its parent, because only K2 moves it. A vector is therefore believed for the
snapshot that it speaks of, and for those that other engines made of it. Three things prove it: the
summary of the snapshot itself; the summary of a later commit of K2, which says what it found at its
parent; the table's property, which names its snapshot. What nothing proves is refused: a vector
that is too high is rows in neither lake nor tail.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import dropwhile, islice

import msgspec
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2_streams.core.records.vector import (
    PROPERTY_OFFSETS_OF,
    SUMMARY_BEFORE,
    SUMMARY_COMMIT_ID,
    SUMMARY_OFFSETS,
    Vector,
    VectorOf,
)
from k2_streams.lake.claim import Claim, goes_back
from k2_streams.lake.errors import VectorMissingError, VectorWentBackError

#: Snapshots with a vector that an error names as places to go back to.
_NAMED = 3
#: The sequence number of a table's first snapshot: it alone certainly has no parent. Of any other
#: "no parent" can mean that an expiry dropped the reference, as pyiceberg's does.
_FIRST = 1


@dataclass(frozen=True, slots=True)
class Link:
    """What stays true of a snapshot after it has expired."""

    id: int
    parent: int | None  # None: it has none, or this metadata no longer says which
    sequence_number: int
    offsets: str | None = None  # `k2.offsets`
    before: str | None = None  # `k2.offsets-before`


def link_of(snapshot: Snapshot) -> Link:
    """Of this snapshot."""
    return Link(
        snapshot.snapshot_id,
        snapshot.parent_snapshot_id,
        snapshot.sequence_number or 0,
        summary_value(snapshot, SUMMARY_OFFSETS),
        summary_value(snapshot, SUMMARY_BEFORE),
    )


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


def head_vector(
    metadata: TableMetadata, earlier: Iterable[Iterable[Link]] = (), *, log: str
) -> Vector:
    """What the table holds of the log.

    Args:
        metadata: of the table.
        earlier: the snapshots of its earlier metadata, newest first. It is read only as far as
            `metadata` no longer has what leads from the head to a vector.
        log: the topic whose rows the table holds, for what an error says.

    Raises:
        VectorMissingError: nothing proves which rows it has.
        VectorWentBackError: the newest vector is behind the one before it.
    """
    head = metadata.current_snapshot()
    if head is None:
        return Vector()
    claims = _claims(metadata)
    first = False
    for link in _line(metadata, earlier):
        text = link.offsets or claims.get(link.id)
        if text is not None:
            newest = _decode(text, f"snapshot {link.id}")
            before = _carried_before(metadata, link.id)
            back = goes_back(before, newest) if before is not None else None
            if back is not None:
                raise VectorWentBackError(f"{log} at snapshot {head.snapshot_id}: {back}")
            return newest
        first = link.sequence_number == _FIRST
    if first and total_rows(head) == 0:
        return Vector()
    raise VectorMissingError(_unproven(metadata, head, log))


def summary_of(
    commit_id: str, metadata: TableMetadata, head: Vector, after: Vector
) -> dict[str, str]:
    """What the summary of a commit says that moves a table from `head` to `after`."""
    says = {SUMMARY_OFFSETS: after.encode(), SUMMARY_COMMIT_ID: commit_id}
    parent = metadata.current_snapshot()
    if parent is not None and summary_value(parent, SUMMARY_OFFSETS) is None:
        says[SUMMARY_BEFORE] = head.encode()
    return says


def properties_of(snapshot_id: int, sequence_number: int, vector: Vector) -> dict[str, str]:
    """The properties of a table that say what this snapshot holds."""
    return {
        SUMMARY_OFFSETS: vector.encode(),
        PROPERTY_OFFSETS_OF: VectorOf(snapshot_id, sequence_number, vector.topics).encode(),
    }


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


def _line(metadata: TableMetadata, earlier: Iterable[Iterable[Link]]) -> Iterator[Link]:
    """The head and its ancestors, newest first, expired ones included as far as they are known.

    Of an expired one whose id alone is known a link that says nothing comes first: reading earlier
    metadata may not be necessary.
    """
    known = {snapshot.snapshot_id: link_of(snapshot) for snapshot in metadata.snapshots}
    older = iter(earlier)
    head = metadata.current_snapshot()
    link = None if head is None else known[head.snapshot_id]
    while link is not None:
        yield link
        if link.sequence_number == _FIRST:
            return
        parent, named = link.parent, False
        while parent is None or parent not in known:
            if parent is not None and not named:
                named = True
                yield Link(parent, None, 0)
            more = next(older, None)
            if more is None:
                return
            for each in more:
                known.setdefault(each.id, each)
                if each.id == link.id and parent is None:
                    parent = each.parent
        link = known[parent]


def _claims(metadata: TableMetadata) -> dict[int, str]:
    """Vectors of snapshots that do not carry one, by their ids, as other snapshots have it of them.

    What holds for a snapshot of another engine holds for its parent as well.
    """
    known = {snapshot.snapshot_id: link_of(snapshot) for snapshot in metadata.snapshots}
    stored = [(link.parent, link.before) for link in known.values() if link.before is not None]
    mirror = _mirror(metadata)
    if mirror is not None and _numbered(known, mirror.snapshot_id) in (0, mirror.sequence_number):
        stored.append((mirror.snapshot_id, mirror.vector.encode()))
    claims: dict[int, str] = {}
    for start, text in stored:
        at = start
        while at is not None and at not in claims:
            link = known.get(at)
            if link is not None and link.offsets is not None:
                break
            claims[at] = text
            at = None if link is None else link.parent
    return claims


def _numbered(known: dict[int, Link], snapshot_id: int) -> int:
    """The sequence number of a snapshot; 0 of one that has expired."""
    link = known.get(snapshot_id)
    return 0 if link is None else link.sequence_number


def _mirror(metadata: TableMetadata) -> VectorOf | None:
    text = metadata.properties.get(PROPERTY_OFFSETS_OF)
    if text is None:
        return None
    try:
        return VectorOf.decode(text)
    except msgspec.DecodeError as error:
        raise VectorMissingError(
            f"the table's property {PROPERTY_OFFSETS_OF}: expected a vector with its snapshot, "
            f"found {text!r} ({error}); remove the property"
        ) from error


def _carried_before(metadata: TableMetadata, snapshot_id: int) -> Vector | None:
    """The newest vector that an ancestor of a snapshot carries, of those that are still there."""
    onwards = dropwhile(lambda one: one.snapshot_id != snapshot_id, ancestry(metadata))
    vectors = (snapshot_vector(snapshot) for snapshot in islice(onwards, 1, None))
    return next((vector for vector in vectors if vector is not None), None)


def _unproven(metadata: TableMetadata, head: Snapshot, log: str) -> str:
    """What is wrong, and the ways back."""
    carriers = [s.snapshot_id for s in metadata.snapshots if summary_value(s, SUMMARY_OFFSETS)]
    back = ", ".join(map(str, carriers[: -_NAMED - 1 : -1]))
    mirror = _mirror(metadata)
    other = (
        f"; {PROPERTY_OFFSETS_OF} speaks of snapshot {mirror.snapshot_id}, which is none of its "
        "ancestors"
        if mirror is not None
        else ""
    )
    example = (
        f'{{"snapshot-id": {head.snapshot_id}, "sequence-number": {head.sequence_number}, '
        f'"offsets": {{"{log}": {{"id": "<topic id>", "next": {{"0": <next offset>, ...}}}}}}}}'
    )
    return (
        f"{log} has {summary_value(head, 'total-records')} rows at snapshot "
        f"{head.snapshot_id}, and nothing proves which offsets of the log they are: neither it nor "
        f"a known ancestor has {SUMMARY_OFFSETS}{other}. Nothing is read or written until you "
        + (f"set the table to a snapshot that has it ({back}), or " if back else "")
        + f"set the property {PROPERTY_OFFSETS_OF} to {example} with what it holds"
    )


def _decode(text: str, where: str) -> Vector:
    try:
        return Vector.decode(text)
    except msgspec.DecodeError as error:
        raise VectorMissingError(
            f"{SUMMARY_OFFSETS} of {where}: expected a vector, found {text!r} ({error})"
        ) from error
