"""Orphan files: written for a commit that never landed, or forgotten by another engine's expiry."""

from dataclasses import dataclass

import structlog

from k2_streams.clock import Clock
from k2_streams.core.maintenance.deletion import StoredFile, is_below, orphans, too_many
from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.errors import LakeError
from k2_streams.lake.maintenance.deletions import folder_of, pending
from k2_streams.lake.maintenance.table_files import (
    ReachableFiles,
    delete_file,
    list_files,
    metadata_files,
)
from k2_streams.lake.table import Lake

log = structlog.get_logger(__name__)

#: A commit that is tried again for as long as this, with the same files, does not exist.
OLDER_THAN_S = 24 * 3_600.0
#: Younger files are not called orphans, whatever is asked for: no commit sends files of this age
#: (`lake.table.COMMIT_WITHIN_S`).
LEAST_AGE_S = 3_600.0


class OrphansRefusedError(LakeError):
    """More would be deleted than is plausible, or too young; nothing was deleted."""


@dataclass(frozen=True, slots=True)
class Orphans:
    """What was found in a table's location."""

    files: tuple[StoredFile, ...]
    refusal: str | None  # why they are not deleted unless it is forced
    deleted: int = 0

    @property
    def size_bytes(self) -> int:
        """Of all of them."""
        return sum(one.size_bytes for one in self.files)


def find_orphans(lake: Lake, clock: Clock, *, older_than_s: float = OLDER_THAN_S) -> Orphans:
    """The files in the table's location that nothing refers to. Deletes nothing.

    Raises:
        OrphansRefusedError: the age is below what any commit may take.
        LakeUnavailableError: catalog or store does not answer.
        LakeConfigError: the table does not say what it holds, or its store cannot be listed.
    """
    if older_than_s < LEAST_AGE_S:
        raise OrphansRefusedError(
            f"expected an age of {LEAST_AGE_S:.0f} s or more, found {older_than_s:.0f}: younger "
            "files may belong to a commit under way"
        )
    before_ms = clock.time_ns() // 1_000_000 - int(older_than_s * 1_000)
    table = lake.load()
    with lake_calls("look for orphan files"):
        # 1. List, 2. what waits for its deletion, 3. what is reachable: in this order. A file that
        #    a commit takes in meanwhile is then reachable, and a record that goes is still seen.
        listed = [
            one
            for one in list_files(table.io, table.location())
            if not is_below(one.path, folder_of(table))
        ]
        waiting = pending(table)
        table = lake.load()
        lake.head_of(table)
        live = ReachableFiles(table.io).of(table.metadata, table.metadata.snapshots)
    found = orphans(
        listed,
        live.keys() | metadata_files(table),
        waiting,
        location=table.location(),
        before_ms=before_ms,
    )
    return Orphans(found, too_many(found, live))


def delete_orphans(
    lake: Lake, clock: Clock, *, older_than_s: float = OLDER_THAN_S, force: bool = False
) -> Orphans:
    """Find them, and delete them.

    Args:
        lake: of the table.
        clock: their age is told by it.
        older_than_s: their least age.
        force: delete them although they are more than a tenth of the live bytes.

    Raises:
        OrphansRefusedError: they are more than a tenth, and it is not forced.
        LakeUnavailableError, LakeConfigError: as `find_orphans`; what is deleted by then is gone.
    """
    found = find_orphans(lake, clock, older_than_s=older_than_s)
    if found.refusal is not None and not force:
        raise OrphansRefusedError(f"{lake.stream.log}: {found.refusal}")
    io = lake.load().io
    with lake_calls("delete orphan files"):
        deleted = sum(delete_file(io, one.path) for one in found.files)
    log.info("orphan files deleted", table=lake.stream.log, files=deleted)
    return Orphans(found.files, found.refusal, deleted)
