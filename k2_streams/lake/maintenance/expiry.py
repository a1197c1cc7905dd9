"""Expiry: old snapshots go, what the table says of the log stays.

Every commit writes the list of all snapshots anew, so their number is what an append costs: with
200 of them twice as much as with none. Expiry removes entries of that list. What they alone
reached is written down before, and deleted later (`lake.maintenance.deletions`). A sink must not
wait for that, and leaves such files to the removal of orphans.
"""

from dataclasses import dataclass

import structlog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
)

from k2_streams.failpoints import failpoint
from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.claim import goes_back
from k2_streams.lake.errors import LakeUnavailableError, VectorWentBackError
from k2_streams.lake.maintenance.deletions import write_down
from k2_streams.lake.maintenance.tags import held_snapshots, tags_of
from k2_streams.lake.snapshots import Head, in_order
from k2_streams.lake.table import Lake
from k2_streams.lake.vectors import ancestry, properties_of, snapshot_vector

log = structlog.get_logger(__name__)

#: Tries against sinks that commit in between. A sink's commit every 10 s leaves room for many.
EXPIRE_TRIES = 5


@dataclass(frozen=True, slots=True)
class Expired:
    """What an expiry removed, and the head before and after it, which says the same."""

    snapshot_ids: tuple[int, ...]
    head: Head


def expire_snapshots(
    lake: Lake,
    *,
    keep: int,
    older_than_ms: int,
    files_at_ms: int | None = None,
    above: int = 0,
) -> Expired:
    """Remove snapshots older than a time (ms since 1970), but not the newest `keep`.

    Kept in any case: the heads of branches, tags, held snapshots, and the newest snapshot that
    carries a vector. The head and its rows do not change, and beside a sink neither sets the other
    back.

    Args:
        lake: of the table.
        keep: so many of the newest stay.
        older_than_ms: younger ones stay as well.
        files_at_ms: the time now. Tags that need not be kept any longer go as well, and the files
            are written down, to be deleted later. None: tags stay, and so do the files.
        above: a table with so many snapshots, or fewer, is not changed.

    Raises:
        ValueError: `keep` is less than one.
        LakeUnavailableError: the catalog does not answer, or others commit all the time.
        LakeConfigError: the table does not say what it holds of the log.
    """
    if keep < 1:
        raise ValueError(f"expected to keep one snapshot or more, found {keep}")
    for _ in range(EXPIRE_TRIES):
        # 1. Read the head and its vector; a table that does not say what it holds is not touched.
        table = lake.load()
        head = lake.head_of(table)
        over = _tags_over(table.metadata, files_at_ms)
        doomed = doomed_by(table.metadata, keep, older_than_ms, over)
        if not doomed or len(table.metadata.snapshots) <= above:
            return Expired((), head)
        # 2. Write down the files that nothing will reach. After the removal nobody could tell any
        #    more; if it fails, all of them are reachable, and stay.
        if files_at_ms is not None:
            with lake_calls("write down expired files"):
                write_down(table, doomed, files_at_ms)
            failpoint("maintenance.written-down")
        # 3. Remove, and mirror the vector in the same step, only if the head is still this one:
        #    beside a sink's commit the mirror would otherwise go back. It then speaks of the head,
        #    whose way to the snapshot that carries the vector may be among what is removed.
        try:
            with lake_calls("expire snapshots"):
                _remove(table, head, doomed, over)
        except LakeUnavailableError as error:
            if not isinstance(error.__cause__, CommitFailedException):
                raise
            continue
        failpoint("maintenance.expired")
        # 4. Prove it: nothing that the table says of the log or of its rows is less than before.
        after = lake.head()
        back = goes_back(head.vector, after.vector)
        if back is not None or after.rows < head.rows:
            raise VectorWentBackError(
                f"expiry: expected {head.rows} rows or more, found {after.rows}; {back}"
            )
        log.info("snapshots-expired", count=len(doomed), head=after.snapshot_id)
        return Expired(doomed, after)
    raise LakeUnavailableError(f"expire snapshots: others were first {EXPIRE_TRIES} times")


def expiring(lake: Lake, *, keep: int, older_than_ms: int) -> tuple[int, ...]:
    """The snapshots that `expire_snapshots` would remove now. Changes nothing.

    Raises:
        LakeUnavailableError: the catalog does not answer.
    """
    return doomed_by(lake.load().metadata, keep, older_than_ms)


def doomed_by(
    metadata: TableMetadata, keep: int, older_than_ms: int, over: frozenset[str] = frozenset()
) -> tuple[int, ...]:
    """The snapshots that `expire_snapshots` removes, oldest first; `over` are tags that go, too."""
    # In the order of their commits: workers' clocks differ, and of one an hour behind even the
    # head would look old.
    newest_first = in_order(metadata)[::-1]
    kept = {snapshot.snapshot_id for snapshot in newest_first[:keep]}
    kept |= {ref.snapshot_id for name, ref in metadata.refs.items() if name not in over}
    kept |= held_snapshots(metadata)
    carrier = next((s for s in ancestry(metadata) if snapshot_vector(s) is not None), None)
    if carrier is not None:
        kept.add(carrier.snapshot_id)
    return tuple(
        snapshot.snapshot_id
        for snapshot in reversed(newest_first)
        if snapshot.snapshot_id not in kept and snapshot.timestamp_ms < older_than_ms
    )


def _tags_over(metadata: TableMetadata, now_ms: int | None) -> frozenset[str]:
    if now_ms is None:
        return frozenset()
    return frozenset(tag.name for tag in tags_of(metadata) if tag.is_over(now_ms))


def _remove(table: Table, head: Head, doomed: tuple[int, ...], over: frozenset[str]) -> None:
    transaction = Transaction(table)
    transaction._apply(  # noqa: SLF001 - pyiceberg's own expiry cannot ask for a head
        (
            *(RemoveSnapshotRefUpdate.model_validate({"ref-name": name}) for name in sorted(over)),
            RemoveSnapshotsUpdate.model_validate({"snapshot-ids": list(doomed)}),
            *_mirror(head),
        ),
        # A tag of the same name may have been created for another snapshot meanwhile.
        (
            *(_still(name, table.metadata.refs[name].snapshot_id) for name in sorted(over)),
            _still(MAIN_BRANCH, head.snapshot_id),
        ),
    )
    transaction.commit_transaction()


def _still(ref: str, snapshot_id: int | None) -> AssertRefSnapshotId:
    return AssertRefSnapshotId.model_validate({"ref": ref, "snapshot-id": snapshot_id})


def _mirror(head: Head) -> tuple[SetPropertiesUpdate, ...]:
    if head.snapshot_id is None:
        return ()
    properties = properties_of(head.snapshot_id, head.sequence_number, head.vector)
    return (SetPropertiesUpdate(updates=properties),)
