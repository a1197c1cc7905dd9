"""What a table's files look like."""

from dataclasses import dataclass

from k2_streams.core.maintenance.compaction import CompactionPolicy
from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.table import Lake


@dataclass(frozen=True, slots=True)
class TableReport:
    """Of the head of a table."""

    table: str
    snapshot_id: int | None
    rows: int
    files: int
    small_files: int  # below what compaction aims at
    size_bytes: int
    snapshots: int


def report_of(lake: Lake, policy: CompactionPolicy) -> TableReport:
    """Read from the catalog and the manifests now. Changes nothing.

    Raises:
        LakeUnavailableError: catalog or store does not answer.
        LakeConfigError: there is no such table, or access is refused.
    """
    table = lake.load()
    head = table.metadata.current_snapshot()
    files = []
    if head is not None:
        with lake_calls("read the manifests"):
            files = [
                entry.data_file
                for manifest in head.manifests(table.io)
                for entry in manifest.fetch_manifest_entry(table.io)
            ]
    return TableReport(
        lake.stream.name,
        None if head is None else head.snapshot_id,
        sum(file.record_count for file in files),
        len(files),
        sum(file.file_size_in_bytes < policy.small_bytes for file in files),
        sum(file.file_size_in_bytes for file in files),
        len(table.metadata.snapshots),
    )
