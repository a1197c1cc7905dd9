"""Deletion of what expired snapshots alone reached: written down before, done some time later.

By then no query reads the files any more. The records are files in the table's location, so that
any worker finds what another one wrote.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from pyiceberg.io import FileIO
from pyiceberg.table import Table

from k2_streams.clock import Clock
from k2_streams.core.maintenance.deletion import VERSION, DeletionRecord, deletable, plain
from k2_streams.failpoints import failpoint
from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.maintenance.table_files import (
    ReachableFiles,
    delete_file,
    folders_of,
    list_files,
)
from k2_streams.lake.table import Lake

log = structlog.get_logger(__name__)

#: Below the table's location.
FOLDER = "metadata/k2-deletions"


@dataclass(frozen=True, slots=True)
class DeletedFiles:
    """What one call of `delete_due` did."""

    files: int = 0  # that were there, and are gone
    records: int = 0
    waiting: int = 0  # records that are not due yet


def folder_of(table: Table) -> str:
    """Where the records of a table are."""
    return f"{table.location().rstrip('/')}/{FOLDER}"


def write_down(table: Table, expiring: tuple[int, ...], now_ms: int) -> int:
    """Write down what no snapshot will reach without these; how many files it is.

    Raises:
        OSError: the store does not answer; then the snapshots must not expire.
    """
    metadata, reachable = table.metadata, ReachableFiles(table.io)
    gone = [one for one in metadata.snapshots if one.snapshot_id in expiring]
    kept = [one for one in metadata.snapshots if one.snapshot_id not in expiring]
    paths = sorted(reachable.of(metadata, gone).keys() - reachable.of(metadata, kept).keys())
    record = DeletionRecord(VERSION, now_ms, list(expiring), paths)
    path = f"{folder_of(table)}/{now_ms:013d}-{uuid.uuid4()}.json"
    with table.io.new_output(path).create() as stream:
        stream.write(record.encode())
    return len(paths)


def pending(table: Table) -> set[str]:
    """`plain` paths of all files that are written down.

    Raises:
        OSError: the store does not answer.
    """
    return {plain(path) for _, record in _records(table) for path in record.paths}


def delete_due(lake: Lake, clock: Clock, *, delay_s: float) -> DeletedFiles:
    """Delete the files that were written down long enough ago, and that no snapshot reaches now.

    Whatever happened since they were written down (the expiry failed, another engine set the table
    back), what the table reaches at this moment stays. A call that ended halfway is repeated.

    Raises:
        LakeUnavailableError: catalog or store does not answer; the rest is deleted later.
    """
    table, now_ms = lake.load(), clock.time_ns() // 1_000_000
    with lake_calls("delete expired files"):
        records = [*_records(table)]
        due = [(path, record) for path, record in records if record.is_due(now_ms, delay_s)]
        if not due:
            return DeletedFiles(waiting=len(records))
        # After the records were read: what was committed before this is reachable here.
        table = lake.load()
        reachable = ReachableFiles(table.io).of(table.metadata, table.metadata.snapshots)
        deleted = 0
        for path, record in due:
            for file in deletable(record.paths, reachable.keys(), folders_of(table)):
                failpoint("maintenance.deleting")
                deleted += delete_file(table.io, file)
            # Its record goes last: a crash before repeats it, and what is gone is no error.
            failpoint("maintenance.deleted")
            delete_file(table.io, path)
    log.info("expired files deleted", table=lake.stream.log, files=deleted, records=len(due))
    return DeletedFiles(deleted, len(due), len(records) - len(due))


def _records(table: Table) -> Iterator[tuple[str, DeletionRecord]]:
    """The oldest first. One that another worker deletes meanwhile is none."""
    for found in sorted(list_files(table.io, folder_of(table)), key=lambda one: one.path):
        data = _read(table.io, found.path)
        if data is None:
            continue
        try:
            yield found.path, DeletionRecord.decode(data)
        except ValueError as error:  # cut off by a crash: its snapshots did not expire
            log.warning("deletion record not readable", path=found.path, error=str(error))


def _read(io: FileIO, path: str) -> bytes | None:
    try:
        with io.new_input(path).open() as stream:
            data: bytes = stream.read()
            return data
    except FileNotFoundError:
        return None
